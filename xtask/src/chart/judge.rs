//! What must be true of every rendering, and what of some modes only.

use serde_json::{Value, json};

use super::objects::{Objects, kind, name, same, selects};
use super::{CHART, NAMESPACE};
use crate::run::root;

/// Kinds that need rights on the whole Kubernetes cluster.
const WIDE: &[&str] =
    &["ClusterRole", "ClusterRoleBinding", "CustomResourceDefinition", "Namespace"];
/// What the operator must never be allowed to touch.
const NEVER: &[&str] =
    &["secrets", "pods/exec", "clusterroles", "clusterrolebindings", "roles", "rolebindings", "*"];

/// The faults of one mode, each a line.
pub fn judge(mode: &str, objects: &Objects, definitions: &Objects) -> Vec<String> {
    let mut wrong = Vec::new();
    for object in &objects.0 {
        wrong.extend(namespace(object));
        wrong.extend(binding(objects, object));
        wrong.extend(rules(object));
        wrong.extend(pod(object));
        wrong.extend(selection(objects, object));
    }
    wrong.extend(alerts(objects));
    wrong.extend(match mode {
        "namespaced" => without_wide_rights(objects, &["team-a", "team-b"]),
        _ => installed_definitions(objects, definitions),
    });
    if mode == "all" {
        let kinds = ["PodDisruptionBudget", "NetworkPolicy", "PodMonitor", "PrometheusRule"];
        let missing = kinds.iter().filter(|kind| objects.of(kind).next().is_none());
        wrong.extend(missing.map(|kind| format!("no {kind}")));
    }
    wrong.into_iter().map(|fault| format!("{mode}: {fault}")).collect()
}

fn namespace(object: &Value) -> Option<String> {
    let given = object["metadata"]["namespace"].is_string();
    let wide = WIDE.contains(&kind(object));
    (given == wide).then(|| format!("{}: a namespace is missing or too much", name(object)))
}

/// A binding names a role that is there and the account that is there.
fn binding(objects: &Objects, object: &Value) -> Option<String> {
    if !kind(object).ends_with("RoleBinding") {
        return None;
    }
    let role = &object["roleRef"];
    let (role_kind, role_name) = (role["kind"].as_str()?, role["name"].as_str()?);
    let subject = &object["subjects"][0];
    let whole = objects.of(role_kind).any(|role| {
        role["metadata"]["name"] == role_name
            && (role_kind == "ClusterRole"
                || role["metadata"]["namespace"] == object["metadata"]["namespace"])
    });
    let known = subject["name"].as_str().is_some_and(|account| {
        objects.find("ServiceAccount", account).is_some() && subject["namespace"] == NAMESPACE
    });
    (!whole || !known).then(|| format!("{}: its role or its account is not there", name(object)))
}

fn rules(object: &Value) -> Vec<String> {
    let empty = Vec::new();
    let rules = object["rules"].as_array().unwrap_or(&empty).iter();
    let named = rules.filter(|rule| !only_makes_secrets(rule)).flat_map(|rule| {
        let listed = [&rule["resources"], &rule["verbs"], &rule["apiGroups"]];
        listed.into_iter().filter_map(Value::as_array).flatten().filter_map(Value::as_str)
    });
    named
        .filter(|word| NEVER.contains(word))
        .map(|word| format!("{}: no right to {word}", name(object)))
        .collect()
}

/// The brokers' shared secret is made by the operator, which may not read it afterwards.
fn only_makes_secrets(rule: &Value) -> bool {
    rule["resources"] == json!(["secrets"]) && rule["verbs"] == json!(["create"])
}

/// What the `restricted` profile asks of a pod, and a read-only root file system.
fn pod(object: &Value) -> Vec<String> {
    let spec = match kind(object) {
        "Deployment" => &object["spec"]["template"]["spec"],
        "Pod" => &object["spec"],
        _ => return Vec::new(),
    };
    let container = &spec["containers"][0];
    let (outer, inner) = (&spec["securityContext"], &container["securityContext"]);
    let checks = [
        (outer["runAsNonRoot"] == true, "runAsNonRoot"),
        (outer["seccompProfile"]["type"] == "RuntimeDefault", "seccompProfile"),
        (inner["allowPrivilegeEscalation"] == false, "allowPrivilegeEscalation"),
        (inner["readOnlyRootFilesystem"] == true, "readOnlyRootFilesystem"),
        (inner["capabilities"]["drop"][0] == "ALL", "capabilities"),
        (container["resources"]["requests"]["memory"].is_string(), "resources"),
        (container["image"].as_str().is_some_and(|i| i.contains([':', '@'])), "image"),
    ];
    let failed = checks.into_iter().filter(|(fine, _)| !fine);
    failed.map(|(_, what)| format!("{}: {what} is not as it must be", name(object))).collect()
}

/// Everything that selects the operator's pods does.
fn selection(objects: &Objects, object: &Value) -> Option<String> {
    let labels = &objects.of("Deployment").next()?["spec"]["template"]["metadata"]["labels"];
    let selector = match kind(object) {
        "Deployment" | "PodDisruptionBudget" => &object["spec"]["selector"],
        "NetworkPolicy" => &object["spec"]["podSelector"],
        "PodMonitor" if !name(object).ends_with("-brokers") => &object["spec"]["selector"],
        _ => return None,
    };
    (!selects(selector, labels)).then(|| format!("{} does not select the operator", name(object)))
}

/// Each alert has a page, and each page an alert.
fn alerts(objects: &Objects) -> Vec<String> {
    let mut wrong = Vec::new();
    let empty = Vec::new();
    for object in objects.of("PrometheusRule") {
        let groups = object["spec"]["groups"].as_array().unwrap_or(&empty);
        let rules: Vec<&Value> =
            groups.iter().filter_map(|group| group["rules"].as_array()).flatten().collect();
        for rule in &rules {
            let alert = rule["alert"].as_str().unwrap_or("?");
            let page = rule["annotations"]["runbook_url"].as_str().unwrap_or_default();
            wrong.extend(runbook(alert, page));
            let whole = rule["labels"]["severity"].is_string()
                && rule["annotations"]["summary"].is_string()
                && rule["for"].is_string();
            if !whole {
                wrong.push(format!("alert {alert} lacks severity, summary or duration"));
            }
        }
        let pages = std::fs::read_dir(root().join(CHART).join("runbooks"));
        let pages = pages.map(Iterator::count).unwrap_or_default();
        if rules.len() != pages {
            wrong.push(format!("{} alerts, but {pages} pages", rules.len()));
        }
    }
    wrong
}

/// The page that an alert links to is there and is about that alert.
fn runbook(alert: &str, page: &str) -> Option<String> {
    if !page.ends_with(&format!("/{alert}.md")) {
        return Some(format!("alert {alert}: {page:?} is no page of its own"));
    }
    let Ok(text) = std::fs::read_to_string(root().join(page)) else {
        return Some(format!("alert {alert}: its page {page:?} does not exist"));
    };
    let about = text.lines().next().is_some_and(|line| line == format!("# {alert}"));
    (!about).then(|| format!("alert {alert}: its page {page:?} does not begin with \"# {alert}\""))
}

fn without_wide_rights(objects: &Objects, watched: &[&str]) -> Vec<String> {
    let mut wrong = Vec::new();
    let wide = objects.0.iter().filter(|object| WIDE.contains(&kind(object)));
    wrong.extend(wide.map(|object| format!("{} needs rights on the cluster", name(object))));
    for namespace in watched {
        let roles = objects.of("Role").filter(|r| r["metadata"]["namespace"] == *namespace);
        if roles.count() != 1 {
            wrong.push(format!("not one role in {namespace}"));
        }
    }
    for object in &objects.0 {
        let namespace = object["metadata"]["namespace"].as_str().unwrap_or_default();
        if namespace != NAMESPACE && !watched.contains(&namespace) {
            wrong.push(format!("{} is in {namespace}", name(object)));
        }
    }
    wrong
}

/// The definitions are those of `crds/`, and an uninstall leaves them.
fn installed_definitions(objects: &Objects, definitions: &Objects) -> Vec<String> {
    let mut wrong = Vec::new();
    let installed: Vec<&Value> = objects.of("CustomResourceDefinition").collect();
    if installed.len() != definitions.0.len() {
        wrong.push(format!("{} definitions of {}", installed.len(), definitions.0.len()));
    }
    for object in installed {
        let metadata = &object["metadata"];
        if metadata["annotations"]["helm.sh/resource-policy"] != "keep" {
            wrong.push(format!("{} goes with the chart", name(object)));
        }
        let own = metadata["name"].as_str();
        let own = own.and_then(|own| definitions.find("CustomResourceDefinition", own));
        if !own.is_some_and(|own| same(&own["spec"], &object["spec"])) {
            wrong.push(format!("{} is not the one in crds/", name(object)));
        }
    }
    wrong
}
