//! Whole objects against files, so that a change of any field is seen and meant.
//! `UPDATE_GOLDEN=1 cargo test -p build` writes the files anew.

use std::path::Path;

use serde_json::{Value, json};

use super::{FULL, MINIMAL, build, cluster, input};
use crate::internal_secret;

fn check(name: &str, spec: &str) {
    let cluster = cluster(spec);
    let objects = build(&cluster);
    let built = json!({
        "secret": internal_secret(&input(&cluster), "0123456789abcdef"),
        "serviceAccount": objects.service_account,
        "configMap": objects.config_map,
        "services": objects.services,
        "networkPolicy": objects.network_policy,
        "podDisruptionBudget": objects.pod_disruption_budget,
        "statefulSet": objects.stateful_set,
    });
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("src/tests/golden/{name}.yaml"));
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&file, serde_yaml::to_string(&built).unwrap()).unwrap();
    }
    let golden: Value = serde_yaml::from_str(&std::fs::read_to_string(&file).unwrap()).unwrap();
    let mut differences = Vec::new();
    compare("", &golden, &built, &mut differences);
    assert!(differences.is_empty(), "{name}.yaml: {}", differences.join("\n"));
}

fn compare(path: &str, golden: &Value, built: &Value, differences: &mut Vec<String>) {
    match (golden, built) {
        (Value::Object(a), Value::Object(b)) => {
            for key in a.keys().chain(b.keys().filter(|key| !a.contains_key(*key))) {
                let of = |map: &serde_json::Map<String, Value>| {
                    map.get(key).cloned().unwrap_or(Value::Null)
                };
                compare(&format!("{path}.{key}"), &of(a), &of(b), differences);
            }
        }
        (Value::Array(a), Value::Array(b)) if a.len() == b.len() => {
            for (i, (a, b)) in a.iter().zip(b).enumerate() {
                compare(&format!("{path}[{i}]"), a, b, differences);
            }
        }
        _ if golden == built => {}
        _ => differences.push(format!("{path} was {golden}, is {built}")),
    }
}

#[test]
fn the_smallest_cluster() {
    check("minimal", MINIMAL);
}

#[test]
fn a_cluster_with_everything() {
    check("full", FULL);
}

#[test]
fn equal_input_gives_equal_bytes() {
    let bytes = || serde_json::to_vec(&build(&cluster(FULL)).stateful_set).unwrap();
    assert_eq!(bytes(), bytes());
}

#[test]
fn a_user_says_who_may_connect_and_how_many_may_be_evicted() {
    let none = build(&cluster("{brokers: {replicas: 1}, networkPolicy: {enabled: false}}"));
    assert_eq!(none.network_policy, None);
    let some = build(&cluster(
        "{brokers: {replicas: 9, maxEvictions: 3}, networkPolicy: {\
         clients: [{ipBlock: {cidr: 10.0.0.0/8}}], metrics: [{ipBlock: {cidr: 10.1.0.0/16}}]}}",
    ));
    let budget = serde_json::to_value(&some.pod_disruption_budget).unwrap();
    assert_eq!(budget["spec"]["maxUnavailable"], 3);
    let policy = serde_json::to_value(&some.network_policy).unwrap();
    let from = |rule: usize, peer: usize| policy["spec"]["ingress"][rule]["from"][peer].clone();
    assert_eq!(from(0, 0)["ipBlock"]["cidr"], "10.0.0.0/8");
    let labels = from(0, 1)["podSelector"]["matchLabels"].clone();
    assert_eq!(labels["app.kubernetes.io/component"], "broker", "brokers replicate through it");
    assert_eq!(from(2, 0)["ipBlock"]["cidr"], "10.1.0.0/16");
    for peer in [from(0, 2), from(2, 1)] {
        let labels = &peer["podSelector"]["matchLabels"];
        assert_eq!(labels["app.kubernetes.io/component"], "operator", "{peer}");
    }
}

/// What the restricted pod security standard asks of a pod.
#[test]
fn pods_are_restricted() {
    for spec in [MINIMAL, FULL] {
        let set = build(&cluster(spec)).stateful_set;
        let pod = set.spec.unwrap().template.spec.unwrap();
        let all = pod.security_context.unwrap();
        assert_eq!(all.run_as_non_root, Some(true));
        assert_eq!(all.seccomp_profile.unwrap().type_, "RuntimeDefault");
        assert!(pod.host_network.is_none() && pod.host_pid.is_none() && pod.host_ipc.is_none());
        for container in pod.containers {
            let own = container.security_context.unwrap();
            assert_eq!(own.allow_privilege_escalation, Some(false));
            assert_eq!(own.read_only_root_filesystem, Some(true));
            assert_eq!(own.capabilities.unwrap().drop.unwrap(), ["ALL"]);
        }
        let kinds = pod.volumes.unwrap();
        assert!(kinds.iter().all(|volume| volume.host_path.is_none()));
    }
}
