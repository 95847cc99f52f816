//! Where a broker is to be found, in two texts. Its file in the ConfigMap outlives every pod and
//! the operator: a broker that starts while no operator works begins with what was last known. Its
//! pod's annotation says what is so now, and wins.

use crd::{CONTROLLER_PORT, KafkaCluster, ListenerSpec, ListenerType};
use k8s_openapi::api::core::v1::ConfigMap;

use crate::address::{bound_port, external_address};
use crate::facts::{BrokerFacts, Facts};
use crate::listeners::needs_pod_config;
use crate::metadata_of::meta_of;
use crate::names::names;
use crate::remembered::{ADVERTISED, RACK, broker_of, endpoints};
use crate::text::{bracketed, kafka_name, text_of};

fn endpoint(name: &str, host: &str, port: i32) -> String {
    format!("{name}://{}:{port}", bracketed(host))
}

/// The same, or what was known last.
fn last_address(
    listener: &ListenerSpec,
    broker: i32,
    facts: &BrokerFacts,
) -> Option<(String, i32)> {
    if listener.kind == ListenerType::Internal {
        return None;
    }
    let remembered = || facts.remembered.addresses.get(&kafka_name(listener)).cloned();
    external_address(listener, broker, facts).or_else(remembered)
}

/// The rack of the broker's node; the last one where the node cannot be seen.
fn last_rack<'a>(cluster: &KafkaCluster, facts: &'a BrokerFacts) -> Option<&'a String> {
    cluster.spec.rack.as_ref()?;
    match facts.node.as_ref().filter(|node| node.seen) {
        Some(node) => node.rack.as_ref(),
        None => facts.remembered.rack.as_ref(),
    }
}

/// A broker's file for the spec as it is: what it starts with.
pub(crate) fn broker_file(cluster: &KafkaCluster, broker: i32, facts: &Facts) -> String {
    let host = names(cluster).broker_host(broker);
    let nothing = BrokerFacts::default();
    let known = facts.brokers.get(&broker).unwrap_or(&nothing);
    let told = |listener: &ListenerSpec| {
        // It will bind what the spec says; a node's port is another.
        let (host, port) = match last_address(listener, broker, known) {
            Some(address) if listener.kind == ListenerType::NodePort => address,
            Some((host, _)) => (host, listener.port),
            None => (host.clone(), listener.port),
        };
        endpoint(&kafka_name(listener), &host, port)
    };
    let controller = endpoint("CONTROLLER", &host, CONTROLLER_PORT);
    let advertised = cluster.spec.listeners.iter().map(told).chain([controller]);
    let advertised: Vec<String> = advertised.collect();
    let rack = last_rack(cluster, known).map(|rack| (RACK, rack.clone()));
    let id = [("node.id", broker.to_string())];
    text_of(id.into_iter().chain(rack).chain([(ADVERTISED, advertised.join(","))]))
}

/// Value of a pod's `barnabas.dev/broker-properties`; `None` while the pod has no node, and where
/// brokers need nothing of the kind. A broker takes a changed value while it runs, so it is told
/// only of listeners and ports that its pod was made with.
pub fn pod_properties(cluster: &KafkaCluster, broker: i32, facts: &Facts) -> Option<String> {
    let known = facts.brokers.get(&broker).filter(|_| needs_pod_config(cluster))?;
    let node = known.node.as_ref()?;
    let host = names(cluster).broker_host(broker);
    let binds = |listener: &&ListenerSpec| {
        known.bound.is_empty() || known.bound.contains_key(&listener.name)
    };
    let told = |listener: &ListenerSpec| {
        let own = || (host.clone(), bound_port(listener, known));
        let (host, port) = last_address(listener, broker, known).unwrap_or_else(own);
        endpoint(&kafka_name(listener), &host, port)
    };
    let controller = endpoint("CONTROLLER", &host, CONTROLLER_PORT);
    let advertised = cluster.spec.listeners.iter().filter(binds).map(told).chain([controller]);
    let advertised: Vec<String> = advertised.collect();
    let rack = last_rack(cluster, known).cloned();
    // Its file may remember one that its node no longer has.
    let none = || (node.seen && known.remembered.rack.is_some()).then(String::new);
    let rack = cluster.spec.rack.as_ref().and_then(|_| rack.or_else(none));
    Some(text_of(
        rack.map(|rack| (RACK, rack)).into_iter().chain([(ADVERTISED, advertised.join(","))]),
    ))
}

/// The live ConfigMap with newer addresses and racks in the brokers' files and nothing else
/// changed: for a cluster whose spec is not applied now. Its listeners are those of the files.
pub fn kept_config(cluster: &KafkaCluster, live: &ConfigMap, facts: &Facts) -> ConfigMap {
    let names = names(cluster);
    let mut kept = live.clone();
    for (file, text) in kept.data.iter_mut().flatten() {
        let known = broker_of(&names, file).and_then(|id| Some((id, facts.brokers.get(&id)?)));
        if let Some((id, known)) = known {
            *text = kept_file(cluster, id, text, known);
        }
    }
    kept
}

/// A ConfigMap with these files, as the operator applies it.
pub fn owned_config(cluster: &KafkaCluster, config: ConfigMap) -> ConfigMap {
    let metadata = meta_of(cluster, names(cluster).config());
    ConfigMap { metadata, data: config.data, ..ConfigMap::default() }
}

fn kept_file(cluster: &KafkaCluster, broker: i32, text: &str, known: &BrokerFacts) -> String {
    let lines = text.lines().filter_map(|line| line.split_once('='));
    let seen = known.node.as_ref().is_some_and(|node| node.seen) && cluster.spec.rack.is_some();
    let mut pairs: Vec<(&str, String)> = Vec::new();
    for (key, value) in lines.filter(|(key, _)| !seen || *key != RACK) {
        match key {
            ADVERTISED => {
                if let Some(rack) = last_rack(cluster, known).filter(|_| seen) {
                    pairs.push((RACK, rack.clone()));
                }
                pairs.push((ADVERTISED, kept_endpoints(cluster, broker, value, known)));
            }
            _ => pairs.push((key, value.to_owned())),
        }
    }
    let lines =
        pairs.into_iter().flat_map(|(key, value)| [key.to_owned(), "=".into(), value, "\n".into()]);
    lines.collect()
}

fn kept_endpoints(cluster: &KafkaCluster, broker: i32, list: &str, known: &BrokerFacts) -> String {
    let kept = |(name, host, port): (String, String, i32)| {
        let listener = cluster.spec.listeners.iter().find(|l| kafka_name(l) == name);
        let now = listener.and_then(|l| Some((l.kind, external_address(l, broker, known)?)));
        match now {
            Some((ListenerType::NodePort, (host, port))) => endpoint(&name, &host, port),
            Some((_, (host, _))) => endpoint(&name, &host, port),
            None => endpoint(&name, &host, port),
        }
    };
    endpoints(list).into_iter().map(kept).collect::<Vec<_>>().join(",")
}
