//! What is known of a cluster's surroundings: where its pods run, and under which addresses their
//! Services can be reached.

use std::collections::BTreeMap;

use crd::{KafkaCluster, ListenerType};
use k8s_openapi::api::core::v1::{ConfigMap, Node, Pod, Service};

use crate::names::{CONTAINER, names, ordinal_of_pod};
use crate::remembered::Remembered;

/// What is known of a cluster's surroundings.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Facts {
    /// By broker id, where anything is known of it.
    pub brokers: BTreeMap<i32, BrokerFacts>,
    /// Bootstrap Services of external listeners, by listener name.
    pub bootstrap: BTreeMap<String, ListenerFacts>,
}

/// What is known of one broker.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct BrokerFacts {
    /// None while it has no pod, or one that no node has taken.
    pub node: Option<NodeFacts>,
    /// Ports that its pod was made with, by name: what it binds, whatever the spec says since.
    pub bound: BTreeMap<String, i32>,
    /// What its file in the ConfigMap says, for what cannot be seen now.
    pub remembered: Remembered,
    /// Its Services, by listener name.
    pub listeners: BTreeMap<String, ListenerFacts>,
}

/// The node that a broker runs on.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct NodeFacts {
    pub name: String,
    /// The node itself could be read: without a rack here it has none.
    pub seen: bool,
    /// Value of the rack label.
    pub rack: Option<String>,
    /// What clients outside can reach: an external address where the node has one.
    pub address: Option<String>,
}

/// What Kubernetes gave to one Service.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ListenerFacts {
    pub node_port: Option<i32>,
    /// Host name or address of the load balancer.
    pub load_balancer: Option<String>,
}

impl Facts {
    /// From live objects. Without the right to read nodes (`nodes` empty), racks are unknown and
    /// a node's address is the one in its pods' status.
    pub fn observe<'a>(
        cluster: &KafkaCluster,
        pods: impl IntoIterator<Item = &'a Pod>,
        nodes: impl IntoIterator<Item = &'a Node>,
        services: impl IntoIterator<Item = &'a Service>,
        config: Option<&ConfigMap>,
    ) -> Facts {
        let names = names(cluster);
        let mut facts = Facts::default();
        let nodes: BTreeMap<&str, &Node> = nodes
            .into_iter()
            .filter_map(|node| Some((node.metadata.name.as_deref()?, node)))
            .collect();
        let rack_label = cluster.spec.rack.as_ref().map(|rack| rack.node_label.as_str());
        for pod in pods {
            let id = pod.metadata.name.as_deref().and_then(|p| ordinal_of_pod(names.cluster, p));
            let Some(id) = id else { continue };
            let broker = facts.brokers.entry(id).or_default();
            broker.node = node_of(pod, &nodes, rack_label);
            broker.bound = bound(pod);
        }
        for (id, remembered) in Remembered::all(cluster, config) {
            facts.brokers.entry(id).or_default().remembered = remembered;
        }
        let services: BTreeMap<&str, &Service> = services
            .into_iter()
            .filter_map(|service| Some((service.metadata.name.as_deref()?, service)))
            .collect();
        let external = cluster.spec.listeners.iter().filter(|l| l.kind != ListenerType::Internal);
        for listener in external {
            let of = |name: String| services.get(name.as_str()).map(|s| listener_facts(s));
            if let Some(known) = of(names.listener_bootstrap_service(&listener.name)) {
                facts.bootstrap.insert(listener.name.clone(), known);
            }
            // A Service is there before the first pod, and while a pod is made anew.
            let ids = facts.brokers.keys().copied().chain(0..cluster.spec.brokers.replicas);
            for id in ids.collect::<std::collections::BTreeSet<i32>>() {
                if let Some(known) = of(names.listener_broker_service(&listener.name, id)) {
                    let broker = facts.brokers.entry(id).or_default();
                    broker.listeners.insert(listener.name.clone(), known);
                }
            }
        }
        facts
    }
}

fn node_of(
    pod: &Pod,
    nodes: &BTreeMap<&str, &Node>,
    rack_label: Option<&str>,
) -> Option<NodeFacts> {
    let name = pod.spec.as_ref()?.node_name.clone()?;
    let host_ip = pod.status.as_ref().and_then(|status| status.host_ip.clone());
    let Some(node) = nodes.get(name.as_str()) else {
        return Some(NodeFacts { name, seen: false, rack: None, address: host_ip });
    };
    let labels = node.metadata.labels.as_ref();
    let rack = rack_label.and_then(|label| labels?.get(label).cloned()).filter(|r| !r.is_empty());
    Some(NodeFacts { name, seen: true, rack, address: node_address(node).or(host_ip) })
}

/// Ports of the broker's container.
fn bound(pod: &Pod) -> BTreeMap<String, i32> {
    let containers = pod.spec.iter().flat_map(|spec| &spec.containers);
    let broker = containers.filter(|container| container.name == CONTAINER);
    let ports = broker.flat_map(|container| container.ports.iter().flatten());
    ports.filter_map(|port| Some((port.name.clone()?, port.container_port))).collect()
}

fn node_address(node: &Node) -> Option<String> {
    let addresses = node.status.as_ref()?.addresses.as_ref()?;
    ["ExternalIP", "ExternalDNS", "InternalIP", "InternalDNS", "Hostname"].iter().find_map(
        |wanted| {
            addresses.iter().find(|a| a.type_ == *wanted).map(|address| address.address.clone())
        },
    )
}

fn listener_facts(service: &Service) -> ListenerFacts {
    let ports = service.spec.as_ref().and_then(|spec| spec.ports.as_ref());
    let ingress = service
        .status
        .as_ref()
        .and_then(|status| status.load_balancer.as_ref()?.ingress.as_ref()?.first());
    ListenerFacts {
        node_port: ports.and_then(|ports| ports.first()?.node_port).filter(|&port| port > 0),
        load_balancer: ingress
            .and_then(|point| point.hostname.clone().or_else(|| point.ip.clone()))
            .filter(|host| !host.is_empty()),
    }
}
