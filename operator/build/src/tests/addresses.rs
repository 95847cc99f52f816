//! Addresses: what brokers advertise, what their pods tell them, what the status says.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Node, Pod, Service};
use serde_json::{Value, json};

use super::{FULL, MINIMAL, cluster, input};
use crate::{
    BrokerFacts, Facts, ListenerFacts, NodeFacts, broker_properties, internal_bootstrap,
    listener_status, pod_properties,
};

fn known(node_port: Option<i32>, load_balancer: Option<&str>) -> ListenerFacts {
    ListenerFacts { node_port, load_balancer: load_balancer.map(str::to_owned) }
}

/// Broker 1 on a node of zone-b, its Services complete; broker 2 without a load balancer yet.
fn facts() -> Facts {
    let broker = |n: i32, address: &str, balancer: Option<&str>| BrokerFacts {
        node: NodeFacts {
            name: format!("node-{n}"),
            rack: Some(format!("zone-{n}")),
            address: Some(address.to_owned()),
        },
        listeners: BTreeMap::from([
            ("outside".to_owned(), known(Some(31_000 + n), None)),
            ("cloud".to_owned(), known(None, balancer)),
        ]),
    };
    Facts {
        brokers: BTreeMap::from([
            (1, broker(1, "172.18.0.3", Some("lb-1.example"))),
            (2, broker(2, "2001:db8::2", None)),
        ]),
        bootstrap: BTreeMap::from([
            ("outside".to_owned(), known(Some(31_500), None)),
            ("cloud".to_owned(), known(None, Some("lb.example"))),
        ]),
    }
}

const INSIDE: &str = "castle-broker-1.castle-brokers.keep.svc";

#[test]
fn a_broker_starts_with_the_names_that_never_change() {
    let cluster = cluster(FULL);
    assert_eq!(
        broker_properties(&input(&cluster), 1),
        format!(
            "node.id=1\nadvertised.listeners=PLAIN://{INSIDE}:9092,OUTSIDE://{INSIDE}:9095,\
             CLOUD://{INSIDE}:9096,CONTROLLER://{INSIDE}:9093\n"
        )
    );
}

#[test]
fn a_pod_tells_its_broker_rack_and_addresses() {
    let cluster = cluster(FULL);
    assert_eq!(
        pod_properties(&cluster, 1, &facts()).unwrap(),
        format!(
            "broker.rack=zone-1\nadvertised.listeners=PLAIN://{INSIDE}:9092,\
             OUTSIDE://172.18.0.3:31001,CLOUD://lb-1.example:9096,CONTROLLER://{INSIDE}:9093\n"
        )
    );
    let second = pod_properties(&cluster, 2, &facts()).unwrap();
    assert!(second.contains("OUTSIDE://[2001:db8::2]:31002,CLOUD://castle-broker-2."), "{second}");
    assert_eq!(pod_properties(&cluster, 0, &facts()), None, "no node has taken it");
}

#[test]
fn without_rack_and_external_listener_a_pod_tells_nothing() {
    assert_eq!(pod_properties(&cluster(MINIMAL), 1, &facts()), None);
    let racks_only = cluster("{brokers: {replicas: 2}, rack: {}}");
    let text = pod_properties(&racks_only, 1, &facts()).unwrap();
    assert!(text.starts_with("broker.rack=zone-1\nadvertised.listeners=PLAIN://castle"), "{text}");
}

#[test]
fn a_template_of_the_user_wins() {
    let cluster = cluster(
        "{brokers: {replicas: 3}, listeners: [{name: plain, port: 9092}, \
         {name: outside, port: 9095, type: NodePort, advertisedHost: 'b{brokerId}.example'}]}",
    );
    let text = pod_properties(&cluster, 1, &facts()).unwrap();
    assert!(text.contains("OUTSIDE://b1.example:31001"), "{text}");
    assert!(!text.contains("broker.rack"), "the spec asks for no rack: {text}");
}

#[test]
fn the_status_tells_clients_where_to_begin() {
    let cluster = cluster(FULL);
    let status = listener_status(&cluster, 3, &facts());
    let bootstrap: Vec<&str> =
        status.iter().map(|s| s.bootstrap_servers.as_deref().unwrap()).collect();
    assert_eq!(
        bootstrap,
        [
            "castle-bootstrap.keep.svc:9092",
            "172.18.0.3:31500,[2001:db8::2]:31500",
            "lb.example:9096",
        ]
    );
    assert_eq!(status[0].addresses.len(), 3);
    assert_eq!(status[1].addresses.len(), 2, "of brokers on a node");
    assert_eq!((status[2].addresses[0].broker, status[2].addresses[0].port), (1, 9096));
    assert_eq!(internal_bootstrap(&cluster).as_deref(), Some("castle-bootstrap.keep.svc:9092"));
    let unknown = listener_status(&cluster, 3, &Facts::default());
    assert_eq!(unknown[1].bootstrap_servers, None);
}

fn from<T: serde::de::DeserializeOwned>(value: Value) -> T {
    serde_json::from_value(value).unwrap()
}

fn pod(name: &str, node: Option<&str>) -> Pod {
    let spec = json!({ "containers": [], "nodeName": node });
    from(json!({ "metadata": { "name": name }, "spec": spec, "status": { "hostIP": "10.0.0.9" } }))
}

#[test]
fn facts_come_from_live_objects() {
    let cluster = cluster(FULL);
    let node: Node = from(json!({
        "metadata": { "name": "n1", "labels": { "topology.kubernetes.io/zone": "zone-b" } },
        "status": { "addresses": [
            { "type": "InternalIP", "address": "172.18.0.3" },
            { "type": "ExternalIP", "address": "203.0.113.3" },
        ] },
    }));
    let service = |name: &str, port: i32, ingress: Value| -> Service {
        from(json!({
            "metadata": { "name": name },
            "spec": { "ports": [{ "port": 9095, "nodePort": port }] },
            "status": { "loadBalancer": { "ingress": ingress } },
        }))
    };
    let services = [
        service("castle-outside-0", 31_001, json!([])),
        service("castle-outside-bootstrap", 31_002, json!([])),
        service("castle-cloud-0", 0, json!([{ "ip": "198.51.100.7" }])),
    ];
    let pods = [
        pod("castle-broker-0", Some("n1")),
        pod("castle-broker-1", Some("n2")),
        pod("castle-broker-2", None),
        pod("castle-tools-0", Some("n1")),
    ];
    let facts = Facts::observe(&cluster, &pods, [&node], &services);
    let first = &facts.brokers[&0];
    assert_eq!(first.node.rack.as_deref(), Some("zone-b"));
    assert_eq!(first.node.address.as_deref(), Some("203.0.113.3"), "the outside one first");
    assert_eq!(first.listeners["outside"].node_port, Some(31_001));
    assert_eq!(first.listeners["cloud"].node_port, None);
    assert_eq!(first.listeners["cloud"].load_balancer.as_deref(), Some("198.51.100.7"));
    assert_eq!(facts.bootstrap["outside"].node_port, Some(31_002));
    let second = &facts.brokers[&1];
    assert_eq!(second.node.rack, None, "its node cannot be read");
    assert_eq!(second.node.address.as_deref(), Some("10.0.0.9"), "from the pod's own status");
    assert_eq!(facts.brokers.len(), 2);
}
