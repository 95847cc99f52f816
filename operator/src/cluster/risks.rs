//! What a cluster may be surprised by: nothing is wrong, and one failure more than its user thinks
//! of would be felt. Told in the condition `AtRisk`, which changes nothing else.

use std::collections::BTreeMap;

use base::BrokerId;
use crd::KafkaCluster;
use k8s_openapi::api::core::v1::Pod;

/// Risks, each with a reason for the condition; the first is the one named there.
pub fn of(cluster: &KafkaCluster, pods: &BTreeMap<BrokerId, Pod>) -> Vec<(&'static str, String)> {
    let spec = &cluster.spec;
    let brokers = spec.brokers.replicas;
    let mut found = Vec::new();
    let mut say = |reason, text: &str| found.push((reason, text.to_owned()));
    if spec.brokers.storage.is_none() {
        say("NoVolumes", "brokers have no volumes: data goes with their pods");
    }
    if brokers > 1 && spec.voters() == 1 {
        say("OneVoter", "one broker holds the metadata alone: without it nothing is elected");
    }
    if brokers > 1 && default_copies(cluster) < 2 {
        say("OneCopy", "default.replication.factor is 1: topics that name no other have one copy");
    }
    for (node, ids) in shared(pods) {
        say("SharedNode", &format!("brokers {ids} share node {node}"));
    }
    let resources = spec.brokers.resources.as_ref();
    let lists = resources.into_iter().flat_map(|all| [&all.requests, &all.limits]);
    if !lists.flatten().any(|list| list.contains_key("memory")) {
        say("NoMemoryRequest", "brokers ask for no memory: a node in need ends them first");
    }
    found
}

fn default_copies(cluster: &KafkaCluster) -> i64 {
    let set = cluster.spec.config.get("default.replication.factor");
    set.and_then(|value| value.scalar()?.parse().ok()).unwrap_or(1)
}

/// Nodes with more than one broker, and which.
fn shared(pods: &BTreeMap<BrokerId, Pod>) -> Vec<(&str, String)> {
    let mut nodes: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for (id, pod) in pods.iter().filter(|(_, pod)| pod.metadata.deletion_timestamp.is_none()) {
        let node = pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref());
        if let Some(node) = node {
            nodes.entry(node).or_default().push(id.to_string());
        }
    }
    let many = nodes.into_iter().filter(|(_, ids)| ids.len() > 1);
    many.map(|(node, ids)| (node, ids.join(", "))).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::json;

    use super::*;

    fn reasons(spec: serde_json::Value, nodes: &[&str]) -> Vec<&'static str> {
        let cluster = json!({"apiVersion": "barnabas.dev/v1alpha1", "kind": "KafkaCluster",
            "metadata": {"name": "c"}, "spec": spec});
        let cluster: KafkaCluster = serde_json::from_value(cluster).unwrap();
        let pod = |node: &&str| -> Pod {
            serde_json::from_value(json!({"spec": {"containers": [], "nodeName": node}})).unwrap()
        };
        let pods = (0..).map(BrokerId).zip(nodes.iter().map(pod)).collect();
        of(&cluster, &pods).into_iter().map(|(reason, _)| reason).collect()
    }

    #[test]
    fn each_risk_is_named_and_a_sound_cluster_has_none() {
        let sound = json!({"brokers": {"replicas": 3, "storage": {"size": "1Gi"},
            "resources": {"requests": {"memory": "1Gi"}}},
            "config": {"default.replication.factor": 3}});
        assert_eq!(reasons(sound.clone(), &["a", "b", "c"]), Vec::<&str>::new());
        assert_eq!(reasons(sound, &["a", "b", "a"]), ["SharedNode"]);
        let bare = reasons(json!({"brokers": {"replicas": 2}}), &["a", "b"]);
        assert_eq!(bare, ["NoVolumes", "OneVoter", "OneCopy", "NoMemoryRequest"]);
    }
}
