//! The judges find what they are there to find. Helm itself is not needed here.
#![allow(clippy::unwrap_used)]

use super::judge::judge;
use super::metrics::{exists, names};
use super::objects::{Objects, same};
use super::values::table;

const OPERATOR: &str = "
apiVersion: apps/v1
kind: Deployment
metadata: {name: o, namespace: barnabas}
spec:
  selector: {matchLabels: {a: b}}
  template:
    metadata: {labels: {a: b}}
    spec:
      securityContext: {runAsNonRoot: true, seccompProfile: {type: RuntimeDefault}}
      containers:
        - image: barnabas/operator:1
          resources: {requests: {memory: 32Mi}}
          securityContext:
            allowPrivilegeEscalation: false
            readOnlyRootFilesystem: true
            capabilities: {drop: [ALL]}
";
const DEFINITION: &str = "
kind: CustomResourceDefinition
metadata: {name: topics.barnabas.dev}
spec: {group: barnabas.dev}
";

fn faults(mode: &str, text: &str) -> Vec<String> {
    let definitions = Objects::parse(DEFINITION).unwrap();
    judge(mode, &Objects::parse(text).unwrap(), &definitions)
}

fn kept() -> String {
    let keep =
        "metadata: {name: topics.barnabas.dev, annotations: {helm.sh/resource-policy: keep}}";
    DEFINITION.replace("metadata: {name: topics.barnabas.dev}", keep)
}

#[test]
fn a_definition_is_kept_and_is_the_generated_one() {
    let with = |definition: &str| faults("default", &format!("{OPERATOR}---{definition}"));
    assert_eq!(with(&kept()), Vec::<String>::new());
    let lost = with(DEFINITION);
    assert!(lost.len() == 1 && lost[0].ends_with("goes with the chart"), "{lost:?}");
    let other = with(&kept().replace("group: barnabas.dev", "group: example.com"));
    assert!(other.len() == 1 && other[0].ends_with("is not the one in crds/"), "{other:?}");
    assert_eq!(faults("default", OPERATOR), ["default: 0 definitions of 1"]);
}

#[test]
fn a_tenant_gets_nothing_that_is_cluster_wide() {
    let role = |namespace: &str| {
        format!("---\nkind: Role\nmetadata: {{name: r, namespace: {namespace}}}\nrules: []\n")
    };
    let fine = format!("{OPERATOR}{}{}", role("team-a"), role("team-b"));
    assert_eq!(faults("namespaced", &fine), Vec::<String>::new());
    let wide = format!("{fine}---\nkind: ClusterRole\nmetadata: {{name: w}}\nrules: []\n");
    assert!(faults("namespaced", &wide).iter().any(|fault| fault.contains("ClusterRole/w")));
    let elsewhere = format!("{fine}{}", role("kube-system"));
    assert!(faults("namespaced", &elsewhere).iter().any(|fault| fault.contains("kube-system")));
}

#[test]
fn weak_pods_wide_rules_and_loose_bindings_are_named() {
    let weak = OPERATOR.replace("readOnlyRootFilesystem: true", "readOnlyRootFilesystem: false");
    let text = format!("{weak}---{}", kept());
    assert_eq!(
        faults("default", &text),
        ["default: Deployment/o: readOnlyRootFilesystem is not as it must be"]
    );
    let rule = "---\nkind: ClusterRole\nmetadata: {name: r}\n\
        rules: [{apiGroups: [\"\"], resources: [secrets], verbs: [get]}]\n";
    let found = faults("default", &format!("{OPERATOR}---{}{rule}", kept()));
    assert_eq!(found, ["default: ClusterRole/r: no right to secrets"]);
    let made = rule.replace("[get]", "[create]");
    let found = faults("default", &format!("{OPERATOR}---{}{made}", kept()));
    assert_eq!(found, Vec::<String>::new(), "to make one is not to read one");
    let both = rule.replace("[get]", "[create, get]");
    assert_eq!(faults("default", &format!("{OPERATOR}---{}{both}", kept())).len(), 1);
    let binding = "---\nkind: ClusterRoleBinding\nmetadata: {name: b}\n\
        roleRef: {kind: ClusterRole, name: nobody}\n\
        subjects: [{kind: ServiceAccount, name: x, namespace: barnabas}]\n";
    let found = faults("default", &format!("{OPERATOR}---{}{binding}", kept()));
    assert_eq!(found.len(), 1, "{found:?}");
}

#[test]
fn an_alert_without_a_page_about_it_is_named() {
    let rule = |page: &str| {
        let file = format!("charts/barnabas-operator/runbooks/{page}.md");
        let text = format!(
            "{OPERATOR}---{}---\nkind: PrometheusRule\nmetadata: {{name: r, namespace: barnabas}}\n\
             spec: {{groups: [{{rules: [{{alert: BarnabasOperatorAbsent, for: 1m, \
             labels: {{severity: warning}}, \
             annotations: {{summary: s, runbook_url: {file}}}}}]}}]}}\n",
            kept()
        );
        let found = faults("default", &text);
        found.into_iter().filter(|fault| fault.contains("BarnabasOperatorAbsent")).count()
    };
    assert_eq!(rule("BarnabasOperatorAbsent"), 0);
    assert_eq!(rule("BarnabasOperatorFailing"), 1);
    assert_eq!(rule("sub/BarnabasOperatorAbsent"), 1);
}

#[test]
fn metrics_are_looked_up_where_they_are_registered() {
    let sources = [
        ("barnabas_operator_", "gauge(\"leading\")".to_owned()),
        ("barnabas_", "\"barnabas_request_seconds\" m.gauge(\"partitions\")".to_owned()),
    ];
    let text = "sum(barnabas_partitions) + rate(barnabas_request_seconds_bucket{a=\"b\"}[5m]) \
        barnabas_operator_leading barnabas_operator_partitions barnabas_lost";
    let unknown: Vec<String> =
        names(text).into_iter().filter(|name| !exists(name, &sources)).collect();
    assert_eq!(unknown, ["barnabas_lost", "barnabas_operator_partitions"]);
}

#[test]
fn the_table_of_values_is_read() {
    let text = "| `x` | no |\n\n| value | is |\n|---|---|\n| `a.b` | c |\n\n| `d` | no |\n";
    assert_eq!(table(text).into_iter().collect::<Vec<_>>(), ["a.b"]);
}

#[test]
fn a_whole_number_may_be_written_either_way_and_nothing_else() {
    let number = |text: &str| Objects::parse(text).unwrap().0.remove(0);
    assert!(same(&number("{a: [1, {b: 2.0}]}"), &number("{a: [1.0, {b: 2}]}")));
    for other in ["{a: [1, {b: 3}]}", "{a: [1]}", "{a: [1, {c: 2}]}", "{a: ['1', {b: 2}]}"] {
        assert!(!same(&number("{a: [1, {b: 2}]}"), &number(other)), "{other}");
    }
}
