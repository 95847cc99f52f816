//! Volumes that no node can reach: those of a disk in a node, or of a zone, that is gone. A volume
//! says which nodes may have it; it is read only for a broker that is down, and where nodes
//! and volumes can be read at all.

use std::collections::{BTreeMap, BTreeSet};

use base::BrokerId;
use k8s_openapi::api::core::v1::{
    Node, NodeSelectorRequirement, NodeSelectorTerm, PersistentVolume,
};
use kube::Api;
use plan::{PodPhase, PodView};

use super::LiveObjects;
use crate::cluster::{Operator, claims};
use crate::error::{Category, request};

impl Operator {
    /// Brokers that are down, and whose volume no node that answers may have.
    pub(super) async fn stranded(
        &self,
        live: &LiveObjects,
        pods: &BTreeMap<BrokerId, PodView>,
    ) -> BTreeSet<BrokerId> {
        let mut stranded = BTreeSet::new();
        if !self.context.settings.global_read || !self.nodes.are_known() {
            return stranded;
        }
        let api: Api<PersistentVolume> = Api::all(self.context.client.clone());
        let down = |pod: &PodView| pod.node_lost || pod.phase == PodPhase::Unschedulable;
        for (id, _) in pods.iter().filter(|(_, pod)| !pod.ready && down(pod)) {
            let Some(name) = live.claims.get(id).and_then(claims::volume) else { continue };
            match request(format!("read PersistentVolume {name}"), api.get_opt(name)).await {
                Ok(Some(volume)) if !self.nodes.any_answers(|node| reaches(node, &volume)) => {
                    stranded.insert(*id);
                }
                Ok(_) => {}
                // The role of an older chart.
                Err(error) if error.category() == Category::Forbidden => return stranded,
                Err(error) => tracing::debug!(%error, "a volume cannot be read"),
            }
        }
        stranded
    }
}

/// Whether a node may have the volume.
fn reaches(node: &Node, volume: &PersistentVolume) -> bool {
    let affinity = volume.spec.as_ref().and_then(|spec| spec.node_affinity.as_ref());
    let Some(required) = affinity.and_then(|affinity| affinity.required.as_ref()) else {
        return true;
    };
    required.node_selector_terms.iter().any(|term| is_met(node, term))
}

fn is_met(node: &Node, term: &NodeSelectorTerm) -> bool {
    let labels = |key: &str| node.metadata.labels.as_ref()?.get(key).map(String::as_str);
    let name = |_: &str| node.metadata.name.as_deref();
    let expressions = term.match_expressions.iter().flatten();
    let fields = term.match_fields.iter().flatten();
    expressions.clone().all(|one| holds(one, labels)) && fields.clone().all(|one| holds(one, name))
}

/// What cannot be told is not known to keep a node away.
fn holds<'a>(one: &NodeSelectorRequirement, value: impl Fn(&str) -> Option<&'a str> + 'a) -> bool {
    let value = value(&one.key);
    let listed = value.is_some_and(|value| one.values.iter().flatten().any(|v| v == value));
    match one.operator.as_str() {
        "In" => listed,
        "NotIn" => !listed,
        "Exists" => value.is_some(),
        "DoesNotExist" => value.is_none(),
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn a_volume_says_which_nodes_may_have_it() {
        let node: Node = serde_json::from_value(json!({"metadata": {"name": "n1",
            "labels": {"kubernetes.io/hostname": "n1", "zone": "a"}}}))
        .unwrap();
        let reached = |affinity: Value| {
            let spec = json!({"spec": {"nodeAffinity": affinity}});
            reaches(&node, &serde_json::from_value(spec).unwrap())
        };
        let terms = |term: Value| json!({"required": {"nodeSelectorTerms": [term]}});
        let label = |key: &str, operator: &str, values: &[&str]| {
            let one = json!({"key": key, "operator": operator, "values": values});
            terms(json!({"matchExpressions": [one]}))
        };
        assert!(reached(json!(null)), "a volume of the network");
        assert!(reached(label("kubernetes.io/hostname", "In", &["n1"])));
        assert!(!reached(label("kubernetes.io/hostname", "In", &["n2"])));
        assert!(!reached(label("zone", "NotIn", &["a", "b"])));
        assert!(reached(label("zone", "Exists", &[])));
        assert!(!reached(label("zone", "DoesNotExist", &[])));
        assert!(reached(label("zone", "Gt", &["1"])), "not known to keep it away");
        let field = json!({"key": "metadata.name", "operator": "In", "values": ["n2"]});
        assert!(!reached(terms(json!({"matchFields": [field]}))));
    }
}
