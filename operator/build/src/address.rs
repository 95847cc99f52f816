//! Addresses of a broker's listeners, as far as they are known now.

use crd::{ListenerSpec, ListenerType};

use crate::facts::BrokerFacts;

/// Address of a broker on an external listener, where it is known now.
pub(crate) fn external_address(
    listener: &ListenerSpec,
    broker: i32,
    facts: &BrokerFacts,
) -> Option<(String, i32)> {
    let service = facts.listeners.get(&listener.name);
    let template = listener.advertised_host.as_ref();
    let wanted = template.map(|host| host.replace("{brokerId}", &broker.to_string()));
    match listener.kind {
        ListenerType::Internal => None,
        ListenerType::NodePort => {
            let node = facts.node.as_ref().and_then(|node| node.address.clone());
            Some((wanted.or(node)?, service?.node_port?))
        }
        ListenerType::LoadBalancer => {
            let host = wanted.or_else(|| service?.load_balancer.clone())?;
            Some((host, bound_port(listener, facts)))
        }
    }
}

/// The port that the broker binds for a listener: what its pod was made with, else the spec's.
pub(crate) fn bound_port(listener: &ListenerSpec, facts: &BrokerFacts) -> i32 {
    facts.bound.get(&listener.name).copied().unwrap_or(listener.port)
}
