//! Addresses: what brokers advertise, what their pods tell them, what the status says.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{ConfigMap, Node, Pod, Service};
use serde_json::{Value, json};

use super::{FULL, MINIMAL, cluster, input};
use crate::{
    BrokerFacts, ClusterInput, Facts, ListenerFacts, NodeFacts, broker_properties,
    internal_bootstrap, kept_config, listener_status, objects, pod_properties,
};

fn known(node_port: Option<i32>, load_balancer: Option<&str>) -> ListenerFacts {
    ListenerFacts { node_port, load_balancer: load_balancer.map(str::to_owned) }
}

/// Broker 1 on a node of zone-b, its Services complete; broker 2 without a load balancer yet.
fn facts() -> Facts {
    let broker = |n: i32, address: &str, balancer: Option<&str>| BrokerFacts {
        node: Some(NodeFacts {
            name: format!("node-{n}"),
            seen: true,
            rack: Some(format!("zone-{n}")),
            address: Some(address.to_owned()),
        }),
        listeners: BTreeMap::from([
            ("outside".to_owned(), known(Some(31_000 + n), None)),
            ("cloud".to_owned(), known(None, balancer)),
        ]),
        ..BrokerFacts::default()
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
    let facts = Facts::observe(&cluster, &pods, [&node], &services, None);
    let first = &facts.brokers[&0];
    let node = first.node.as_ref().unwrap();
    assert_eq!(node.rack.as_deref(), Some("zone-b"));
    assert_eq!(node.address.as_deref(), Some("203.0.113.3"), "the outside one first");
    assert_eq!(first.listeners["outside"].node_port, Some(31_001));
    assert_eq!(first.listeners["cloud"].node_port, None);
    assert_eq!(first.listeners["cloud"].load_balancer.as_deref(), Some("198.51.100.7"));
    assert_eq!(facts.bootstrap["outside"].node_port, Some(31_002));
    let second = &facts.brokers[&1];
    let node = second.node.as_ref().unwrap();
    assert_eq!((node.seen, &node.rack), (false, &None), "its node cannot be read");
    assert_eq!(node.address.as_deref(), Some("10.0.0.9"), "from the pod's own status");
    assert_eq!(facts.brokers[&2].node, None, "no node has taken it");
}

/// The ConfigMap as an operator writes it that sees these facts.
fn config_with(facts: &Facts) -> ConfigMap {
    let cluster = cluster(FULL);
    objects(&ClusterInput { facts, ..input(&cluster) }).config_map
}

fn file(config: &ConfigMap, broker: i32) -> &str {
    &config.data.as_ref().unwrap()[&format!("castle-broker-{broker}.properties")]
}

#[test]
fn a_broker_that_starts_without_an_operator_has_its_last_addresses_and_rack() {
    let cluster = cluster(FULL);
    let config = config_with(&facts());
    let expected = format!(
        "node.id=1\nbroker.rack=zone-1\nadvertised.listeners=PLAIN://{INSIDE}:9092,\
         OUTSIDE://172.18.0.3:31001,CLOUD://lb-1.example:9096,CONTROLLER://{INSIDE}:9093\n"
    );
    assert_eq!(file(&config, 1), expected);
    // Its pod is made anew, and the load balancer does not answer for its Service now.
    let blind = Facts::observe(&cluster, [], [], [], Some(&config));
    assert_eq!(config_with(&blind), config, "what is not seen is not forgotten");
    // The pod is on another node, which cannot be read: its own address counts, the rack stays.
    let pods = [pod("castle-broker-2", Some("elsewhere"))];
    let moved = Facts::observe(&cluster, &pods, [], [], Some(&config));
    let told = pod_properties(&cluster, 2, &moved).unwrap();
    assert!(told.starts_with("broker.rack=zone-2\n"), "{told}");
    assert!(told.contains("OUTSIDE://[2001:db8::2]:31002"), "no Service is seen: {told}");
}

#[test]
fn a_node_that_lost_its_rack_is_believed() {
    let cluster = cluster(FULL);
    let config = config_with(&facts());
    let node: Node = from(json!({ "metadata": { "name": "n1" } }));
    let pods = [pod("castle-broker-1", Some("n1"))];
    let now = Facts::observe(&cluster, &pods, [&node], [], Some(&config));
    assert!(pod_properties(&cluster, 1, &now).unwrap().starts_with("broker.rack=\n"));
    assert!(!file(&config_with(&now), 1).contains("broker.rack"));
}

#[test]
fn addresses_are_kept_where_the_spec_is_not_applied() {
    let mut cluster = cluster(FULL);
    let config = config_with(&facts());
    assert_eq!(kept_config(&cluster, &config, &facts()), config, "nothing new");
    let mut later = facts();
    let broker = later.brokers.get_mut(&1).unwrap();
    broker.node.as_mut().unwrap().address = Some("172.18.0.9".into());
    broker.node.as_mut().unwrap().rack = Some("zone-9".into());
    broker.listeners.get_mut("cloud").unwrap().load_balancer = Some("new.example".into());
    // Of a spec that is not applied nothing may get into the files: the common one names other
    // listeners, and a broker would not start.
    cluster.spec.listeners[2].port = 9999;
    cluster
        .spec
        .listeners
        .push(crd::ListenerSpec { name: "more".into(), ..cluster.spec.listeners[0].clone() });
    let kept = kept_config(&cluster, &config, &later);
    assert_eq!(
        file(&kept, 1),
        format!(
            "node.id=1\nbroker.rack=zone-9\nadvertised.listeners=PLAIN://{INSIDE}:9092,\
             OUTSIDE://172.18.0.9:31001,CLOUD://new.example:9096,CONTROLLER://{INSIDE}:9093\n"
        )
    );
    let others = |config: &ConfigMap| {
        let mut data = config.data.clone().unwrap();
        data.remove("castle-broker-1.properties");
        data
    };
    assert_eq!(others(&kept), others(&config));
}

/// A port that changes interrupts nobody: until a broker is restarted it is told, found and let
/// through under the port that it binds.
#[test]
fn a_changed_port_waits_for_each_broker() {
    let mut cluster = cluster(FULL);
    let mut now = facts();
    let bound = [("plain", 9092), ("outside", 9095), ("cloud", 9096)];
    for broker in now.brokers.values_mut() {
        broker.bound = bound.iter().map(|(name, port)| ((*name).to_owned(), *port)).collect();
    }
    cluster.spec.listeners[2].port = 9999;
    cluster
        .spec
        .listeners
        .push(crd::ListenerSpec { name: "more".into(), ..cluster.spec.listeners[0].clone() });
    cluster.spec.listeners[3].port = 9100;
    let told = pod_properties(&cluster, 1, &now).unwrap();
    assert!(told.contains("CLOUD://lb-1.example:9096"), "{told}");
    assert!(!told.contains("MORE"), "it would be refused: {told}");
    now.brokers.get_mut(&2).unwrap().bound =
        [("cloud".to_owned(), 9999), ("more".to_owned(), 9100)].into();
    let built = objects(&ClusterInput { facts: &now, ..input(&cluster) });
    let port = |name: &str| {
        let service =
            built.services.iter().find(|s| s.metadata.name.as_deref() == Some(name)).unwrap();
        let port = service.spec.as_ref().unwrap().ports.as_ref().unwrap()[0].clone();
        assert_eq!(serde_json::to_value(port.target_port).unwrap(), json!("cloud"));
        port.port
    };
    assert_eq!((port("castle-cloud-1"), port("castle-cloud-2")), (9096, 9999));
    assert_eq!(port("castle-cloud-bootstrap"), 9999);
    let status = listener_status(&cluster, 3, &now);
    assert_eq!((status[2].addresses[0].port, status[3].addresses[2].port), (9096, 9100));
    let policy = serde_json::to_value(&built.network_policy).unwrap();
    let ports = policy["spec"]["ingress"][0]["ports"].as_array().unwrap();
    let ports: Vec<i64> = ports.iter().map(|port| port["port"].as_i64().unwrap()).collect();
    assert_eq!(ports, [9092, 9095, 9999, 9100, 9096]);
    // What a broker starts with next time is the spec's.
    assert!(file(&built.config_map, 1).contains("CLOUD://lb-1.example:9999"));
}
