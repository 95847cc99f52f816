//! Listeners of a `KafkaCluster`.

use std::collections::BTreeMap;

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Port of the metadata quorum; no listener can have it.
pub const CONTROLLER_PORT: i32 = 9093;
/// Port of health and metrics; no listener can have it.
pub const HTTP_PORT: i32 = 9404;

/// One listener of every broker.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(
    validation = Rule::new("self.type == 'NodePort' || self.type == 'LoadBalancer' \
        || !(has(self.nodePort) || has(self.brokerNodePorts) || has(self.advertisedHost))")
        .message("nodePort, brokerNodePorts and advertisedHost are for listeners of type \
                  NodePort or LoadBalancer"),
    validation = Rule::new("self.type == 'LoadBalancer' || !has(self.loadBalancerClass)")
        .message("loadBalancerClass is for listeners of type LoadBalancer"),
    validation = Rule::new(
        "!has(self.nodePort) || !has(self.brokerNodePorts) \
         || self.brokerNodePorts.all(id, self.brokerNodePorts[id] != self.nodePort)"
    ).message("nodePort is the bootstrap Service's alone: no broker has it in brokerNodePorts"),
    validation = Rule::new(
        "self.type != 'LoadBalancer' || oldSelf.type != 'LoadBalancer' \
         || (has(self.loadBalancerClass) == has(oldSelf.loadBalancerClass) \
             && (!has(self.loadBalancerClass) \
                 || self.loadBalancerClass == oldSelf.loadBalancerClass))"
    ).message("the loadBalancerClass of a listener cannot change: add another listener")
)]
pub struct ListenerSpec {
    /// 1 to 11 lower-case letters and digits, the first a letter.
    #[schemars(length(max = 11), regex(pattern = r"^[a-z][a-z0-9]{0,10}$"))]
    #[x_kube(validation = Rule::new("!(self in ['controller', 'http'])")
        .message("the listener names controller and http are taken by the brokers themselves"))]
    pub name: String,
    /// Port of the pod; on one machine the port of the first broker, its followers one up each.
    #[schemars(range(min = 1024, max = 65535))]
    #[x_kube(validation = Rule::new("!(self in [9093, 9404])")
        .message("ports 9093 (metadata quorum) and 9404 (health and metrics) are reserved"))]
    pub port: i32,
    /// How the listener is reached.
    #[serde(rename = "type", default)]
    pub kind: ListenerType,
    /// Node port of the bootstrap Service; Kubernetes chooses one where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 65535))]
    pub node_port: Option<i32>,
    /// Node ports of single brokers, by broker id; Kubernetes chooses the others.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[x_kube(validation = Rule::new(
        "self.all(id, id.matches('^(0|[1-9][0-9]{0,2})$') && self[id] > 0 && self[id] < 65536)"
    ).message("brokerNodePorts are ports by broker id, such as \"0\": 31000"))]
    #[schemars(extend("maxProperties" = 1000))]
    pub broker_node_ports: BTreeMap<String, i32>,
    /// Host that brokers tell clients to connect to, with `{brokerId}` in place of the id. Without
    /// it: an address of the broker's node, or of its load balancer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = Rule::new(
        "self.replace('{brokerId}', '0').matches('^[a-zA-Z0-9]([-a-zA-Z0-9.:]*[a-zA-Z0-9])?$')"
    ).message("advertisedHost is a host name or address; {brokerId} stands for the broker's id"))]
    pub advertised_host: Option<String>,
    /// Annotations of the listener's Services.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 64))]
    pub annotations: BTreeMap<String, String>,
    /// Class of the load balancers; the cluster's default where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub load_balancer_class: Option<String>,
}

/// How a listener is reached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ListenerType {
    /// From inside the Kubernetes cluster.
    #[default]
    Internal,
    /// Through a port of every node.
    NodePort,
    /// Through a load balancer per broker and one for bootstrap.
    LoadBalancer,
}

impl ListenerType {
    /// As it is written in YAML.
    pub fn as_str(self) -> &'static str {
        match self {
            ListenerType::Internal => "Internal",
            ListenerType::NodePort => "NodePort",
            ListenerType::LoadBalancer => "LoadBalancer",
        }
    }
}

impl ListenerSpec {
    /// An internal listener with nothing else set.
    pub fn internal(name: &str, port: i32) -> ListenerSpec {
        ListenerSpec {
            name: name.into(),
            port,
            kind: ListenerType::Internal,
            node_port: None,
            broker_node_ports: BTreeMap::new(),
            advertised_host: None,
            annotations: BTreeMap::new(),
            load_balancer_class: None,
        }
    }

    /// The node port that the user wants for a broker.
    pub fn node_port_of(&self, broker: i32) -> Option<i32> {
        self.broker_node_ports.get(&broker.to_string()).copied()
    }
}

pub(crate) fn default_listeners() -> Vec<ListenerSpec> {
    vec![ListenerSpec::internal("plain", 9092)]
}
