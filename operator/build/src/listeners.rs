//! Listeners: what brokers bind, what they advertise, and what clients are told to begin with.

use std::collections::BTreeSet;

use crd::{
    BrokerAddress, CONTROLLER_PORT, HTTP_PORT, KafkaCluster, ListenerSpec, ListenerStatus,
    ListenerType,
};

use crate::facts::{BrokerFacts, Facts, ListenerFacts};
use crate::input::names;
use crate::names::LOG_DIR;
use crate::properties::text_of;

/// Most bootstrap addresses of a NodePort listener; a client needs one that answers.
const BOOTSTRAP_NODES_MAX: usize = 5;

/// The listeners' part of the common file: all of it needs a restart.
pub(crate) fn binding(cluster: &KafkaCluster) -> Vec<(String, String)> {
    let listeners = &cluster.spec.listeners;
    let inter_broker = cluster.spec.inter_broker_listener().or(listeners.first());
    let bound = listeners
        .iter()
        .map(|l| format!("{}://:{}", kafka_name(l), l.port))
        .chain([format!("CONTROLLER://:{CONTROLLER_PORT}")]);
    let protocols = listeners
        .iter()
        .map(|l| format!("{}:PLAINTEXT", kafka_name(l)))
        .chain(["CONTROLLER:PLAINTEXT".to_owned()]);
    let pair = |key: &str, value: String| (key.to_owned(), value);
    vec![
        pair("process.roles", "broker,controller".into()),
        pair("listeners", bound.collect::<Vec<_>>().join(",")),
        pair("listener.security.protocol.map", protocols.collect::<Vec<_>>().join(",")),
        pair("controller.listener.names", "CONTROLLER".into()),
        pair("inter.broker.listener.name", inter_broker.map_or(String::new(), kafka_name)),
        pair("log.dirs", LOG_DIR.into()),
        pair("barnabas.http.listener", format!("0.0.0.0:{HTTP_PORT}")),
    ]
}

fn kafka_name(listener: &ListenerSpec) -> String {
    listener.name.to_uppercase()
}

/// What a broker advertises, with the quorum's listener. Without facts, external listeners go by
/// the pod's name, which nobody outside can resolve: it is replaced once the address is known.
pub fn advertised_listeners(
    cluster: &KafkaCluster,
    broker: i32,
    facts: Option<&BrokerFacts>,
) -> String {
    let host = names(cluster).broker_host(broker);
    let mut all: Vec<String> = Vec::new();
    for listener in &cluster.spec.listeners {
        let address = facts.and_then(|facts| external_address(listener, broker, facts));
        let (host, port) = address.unwrap_or_else(|| (host.clone(), listener.port));
        all.push(format!("{}://{}:{port}", kafka_name(listener), bracketed(&host)));
    }
    all.push(format!("CONTROLLER://{host}:{CONTROLLER_PORT}"));
    all.join(",")
}

/// Address of a broker on an external listener, where it is known already.
fn external_address(
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
            Some((wanted.or_else(|| facts.node.address.clone())?, service?.node_port?))
        }
        ListenerType::LoadBalancer => {
            Some((wanted.or_else(|| service?.load_balancer.clone())?, listener.port))
        }
    }
}

fn bracketed(host: &str) -> String {
    if host.contains(':') { format!("[{host}]") } else { host.to_owned() }
}

/// Whether brokers learn anything from their pods' annotation.
pub fn needs_pod_config(cluster: &KafkaCluster) -> bool {
    cluster.spec.rack.is_some() || cluster.spec.has_external_listener()
}

/// Value of a pod's `barnabas.dev/broker-properties`; `None` while the pod has no node, and where
/// brokers need nothing of the kind. A broker takes a changed value while it runs.
pub fn pod_properties(cluster: &KafkaCluster, broker: i32, facts: &Facts) -> Option<String> {
    let known = facts.brokers.get(&broker).filter(|_| needs_pod_config(cluster))?;
    let rack = known.node.rack.iter().filter(|_| cluster.spec.rack.is_some());
    let rack = rack.map(|rack| ("broker.rack", rack.clone()));
    let advertised = ("advertised.listeners", advertised_listeners(cluster, broker, Some(known)));
    Some(text_of(rack.chain([advertised])))
}

/// `host:port` of the listener through which brokers and the operator reach the cluster.
pub fn internal_bootstrap(cluster: &KafkaCluster) -> Option<String> {
    let listener = cluster.spec.inter_broker_listener()?;
    Some(format!("{}:{}", names(cluster).bootstrap_host(), listener.port))
}

/// Addresses per listener for the cluster's status, for brokers 0 to `replicas` - 1.
pub fn listener_status(
    cluster: &KafkaCluster,
    replicas: i32,
    facts: &Facts,
) -> Vec<ListenerStatus> {
    let status = |listener: &ListenerSpec| {
        let addresses: Vec<BrokerAddress> =
            (0..replicas).filter_map(|id| broker_address(cluster, listener, id, facts)).collect();
        ListenerStatus {
            name: listener.name.clone(),
            kind: listener.kind,
            bootstrap_servers: bootstrap(cluster, listener, &addresses, facts),
            addresses,
        }
    };
    cluster.spec.listeners.iter().map(status).collect()
}

fn broker_address(
    cluster: &KafkaCluster,
    listener: &ListenerSpec,
    broker: i32,
    facts: &Facts,
) -> Option<BrokerAddress> {
    let (host, port) = match listener.kind {
        ListenerType::Internal => (names(cluster).broker_host(broker), listener.port),
        _ => external_address(listener, broker, facts.brokers.get(&broker)?)?,
    };
    Some(BrokerAddress { broker, host, port })
}

fn bootstrap(
    cluster: &KafkaCluster,
    listener: &ListenerSpec,
    addresses: &[BrokerAddress],
    facts: &Facts,
) -> Option<String> {
    let service: Option<&ListenerFacts> = facts.bootstrap.get(&listener.name);
    match listener.kind {
        ListenerType::Internal => {
            Some(format!("{}:{}", names(cluster).bootstrap_host(), listener.port))
        }
        ListenerType::NodePort => {
            let port = service?.node_port?;
            let hosts: BTreeSet<&str> = addresses.iter().map(|a| a.host.as_str()).collect();
            let servers: Vec<String> = hosts
                .into_iter()
                .take(BOOTSTRAP_NODES_MAX)
                .map(|host| format!("{}:{port}", bracketed(host)))
                .collect();
            (!servers.is_empty()).then(|| servers.join(","))
        }
        ListenerType::LoadBalancer => {
            let host = service?.load_balancer.as_ref()?;
            Some(format!("{}:{}", bracketed(host), listener.port))
        }
    }
}
