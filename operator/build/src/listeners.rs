//! Listeners: what brokers bind, and what clients are told to begin with.

use std::collections::BTreeSet;

use crd::{
    BrokerAddress, CONTROLLER_PORT, HTTP_PORT, KafkaCluster, ListenerSpec, ListenerStatus,
    ListenerType,
};

use crate::address::{bound_port, external_address};
use crate::facts::{Facts, ListenerFacts};
use crate::names::{LOG_DIR, names};
use crate::text::{bracketed, kafka_name};

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
        pair("barnabas.http.listener", format!(":{HTTP_PORT}")),
    ]
}

/// Whether brokers learn anything from their pods' annotation.
pub fn needs_pod_config(cluster: &KafkaCluster) -> bool {
    cluster.spec.rack.is_some() || cluster.spec.has_external_listener()
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
        ListenerType::Internal => {
            let port = facts.brokers.get(&broker).map(|known| bound_port(listener, known));
            (names(cluster).broker_host(broker), port.unwrap_or(listener.port))
        }
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
