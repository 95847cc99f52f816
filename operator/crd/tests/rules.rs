//! The rules that the API server applies to what a user writes, evaluated here without one: each is
//! tried both ways, and refusals are judged by their message, which is all that a user sees.

#![allow(clippy::unwrap_used)]

use crd::{KafkaCluster, Topic};
use kube::core::cel::Validator;
use serde::Deserialize;
use serde_json::{Value, json};

fn schema(kind: &str) -> Value {
    let definition =
        crd::definitions().into_iter().find(|d| d.spec.names.kind == kind).expect("known kind");
    let version = definition.spec.versions.into_iter().next().unwrap();
    serde_json::to_value(version.schema.unwrap().open_api_v3_schema.unwrap()).unwrap()
}

/// Messages of the rules that refuse `new`, or its taking the place of `old`. Defaults are filled
/// in first, as the API server does.
fn refusals(kind: &str, new: &Value, old: Option<&Value>) -> Vec<String> {
    let complete = |value: &Value| -> Value {
        match kind {
            "KafkaCluster" => {
                let typed: crd::KafkaCluster = serde_json::from_value(value.clone()).unwrap();
                serde_json::to_value(typed).unwrap()
            }
            _ => {
                let typed: crd::Topic = serde_json::from_value(value.clone()).unwrap();
                serde_json::to_value(typed).unwrap()
            }
        }
    };
    let (new, old) = (complete(new), old.map(complete));
    match Validator::new().validate(&schema(kind), &new, old.as_ref()) {
        Ok(()) => Vec::new(),
        Err(errors) => errors.iter().map(ToString::to_string).collect(),
    }
}

/// A valid cluster, with one field (JSON pointer below spec) set to something else.
fn cluster(changes: &[(&str, Value)]) -> Value {
    let base = json!({
        "apiVersion": "barnabas.dev/v1alpha1",
        "kind": "KafkaCluster",
        "metadata": { "name": "castle" },
        "spec": {
            "brokers": { "replicas": 3, "storage": { "size": "10Gi", "storageClass": "fast" } },
            "controllers": { "replicas": 3 },
            "listeners": [
                { "name": "plain", "port": 9092 },
                { "name": "outside", "port": 9094, "type": "NodePort" },
            ],
            "config": { "min.insync.replicas": 2, "default.replication.factor": 3 },
        },
    });
    changed(base, changes)
}

fn topic(changes: &[(&str, Value)]) -> Value {
    let base = json!({
        "apiVersion": "barnabas.dev/v1alpha1",
        "kind": "Topic",
        "metadata": { "name": "messages" },
        "spec": { "clusterRef": { "name": "castle" }, "partitions": 6 },
    });
    changed(base, changes)
}

/// `null` removes a field.
fn changed(mut value: Value, changes: &[(&str, Value)]) -> Value {
    for (path, to) in changes {
        let (parent, field) = path.rsplit_once('/').unwrap();
        let parent = value.pointer_mut(parent).unwrap_or_else(|| panic!("{path}"));
        match parent {
            Value::Object(map) if to.is_null() => drop(map.remove(field)),
            Value::Object(map) => drop(map.insert(field.to_owned(), to.clone())),
            Value::Array(items) if field == "-" => items.push(to.clone()),
            Value::Array(items) => items[field.parse::<usize>().unwrap()] = to.clone(),
            _ => panic!("{path}"),
        }
    }
    value
}

fn accepted(kind: &str, new: &Value, old: Option<&Value>) {
    let refusals = refusals(kind, new, old);
    assert!(refusals.is_empty(), "{refusals:?} for {new}");
}

fn refused(kind: &str, new: &Value, old: Option<&Value>, want: &str) {
    let refusals = refusals(kind, new, old);
    assert!(
        refusals.len() == 1 && refusals[0].contains(want),
        "want {want:?}, got {refusals:?} for {new}"
    );
}

const CLUSTER: &str = "KafkaCluster";
const TOPIC: &str = "Topic";

#[test]
fn valid_clusters_are_taken() {
    accepted(CLUSTER, &cluster(&[]), None);
    for (path, value) in [
        ("/spec/controllers", Value::Null),
        ("/spec/brokers/storage", Value::Null),
        ("/spec/listeners", Value::Null),
        ("/spec/config", Value::Null),
        ("/spec/rack", json!({})),
        ("/spec/rebalance", json!({ "throttleBytesPerSecond": 1 })),
        ("/spec/brokers/storage/size", json!("1.5Ti")),
        ("/spec/config/min.insync.replicas", json!("3")),
        ("/spec/config/min.insync.replicas", json!("many")),
        ("/spec/config/unclean.leader.election.enable", json!(false)),
        ("/spec/listeners/1/advertisedHost", json!("broker-{brokerId}.example.com")),
        ("/spec/listeners/1/brokerNodePorts", json!({ "0": 31000, "12": 31012 })),
        ("/spec/listeners/1/nodePort", json!(31999)),
    ] {
        accepted(CLUSTER, &cluster(&[(path, value)]), None);
    }
}

#[test]
fn a_cluster_that_can_never_work_is_refused() {
    let check = |path: &str, value: Value, want: &str| {
        refused(CLUSTER, &cluster(&[(path, value)]), None, want);
    };
    check("/metadata/name", json!("c".repeat(41)), "longer than 40 characters");
    check("/metadata/name", json!("9castle"), "begins with a letter");
    check("/metadata/name", json!("a.castle"), "lower-case letters, digits and '-'");
    check("/spec/controllers/replicas", json!(2), "controllers.replicas is 1, 3 or 5");
    check("/spec/controllers/replicas", json!(5), "cannot be more than brokers.replicas");
    check("/spec/brokers/storage/size", json!("10 GB"), "a Kubernetes quantity");
    check("/spec/brokers/storage/size", json!("0"), "above zero");
    check("/spec/config/min.insync.replicas", json!(4), "more than default.replication.factor");
    check("/spec/config/min.insync.replicas", json!("4"), "no write with acks=all");
}

#[test]
fn listeners_that_can_never_work_are_refused() {
    let check = |path: &str, value: Value, want: &str| {
        refused(CLUSTER, &cluster(&[(path, value)]), None, want);
    };
    check("/spec/listeners", json!([]), "at least one listener is of type Internal");
    check("/spec/listeners/1/name", json!("plain"), "listener names must differ");
    check("/spec/listeners/1/port", json!(9092), "listener ports must differ");
    check("/spec/listeners/1/port", json!(9093), "ports 9093");
    check("/spec/listeners/1/port", json!(9404), "9404 (health and metrics) are reserved");
    check("/spec/listeners/1/name", json!("controller"), "taken by the brokers themselves");
    check("/spec/listeners/0/type", json!("LoadBalancer"), "at least one listener is of type");
    check("/spec/listeners/0/nodePort", json!(31000), "NodePort or LoadBalancer");
    check("/spec/listeners/0/brokerNodePorts", json!({ "0": 31000 }), "NodePort or LoadBalancer");
    check("/spec/listeners/0/advertisedHost", json!("a"), "NodePort or LoadBalancer");
    check("/spec/listeners/1/loadBalancerClass", json!("a"), "of type LoadBalancer");
    check("/spec/listeners/1/advertisedHost", json!("{broker}.a"), "{brokerId} stands for");
    check("/spec/listeners/1/advertisedHost", json!("a:1/b"), "advertisedHost is a host name");
    check("/spec/listeners/1/brokerNodePorts", json!({ "zero": 31000 }), "ports by broker id");
    check("/spec/listeners/1/brokerNodePorts", json!({ "0": 70000 }), "ports by broker id");
    let one_port = json!({ "name": "outside", "port": 9094, "type": "NodePort",
        "nodePort": 31000, "brokerNodePorts": { "0": 31001, "1": 31000 } });
    check("/spec/listeners/1", one_port, "the bootstrap Service's alone");
    let twice = [
        ("/spec/listeners/1/nodePort", json!(31000)),
        (
            "/spec/listeners/-",
            json!({ "name": "more", "port": 9095, "type": "LoadBalancer",
            "nodePort": 31000 }),
        ),
    ];
    refused(CLUSTER, &cluster(&twice), None, "no two listeners have the same nodePort");
    let apart = json!({ "name": "more", "port": 9095, "type": "LoadBalancer", "nodePort": 31001,
        "brokerNodePorts": { "0": 31002 } });
    accepted(CLUSTER, &cluster(&[twice[0].clone(), ("/spec/listeners/-", apart)]), None);
}

/// Brokers of a running cluster that are not yet restarted know their peers by it.
#[test]
fn the_listener_of_the_brokers_stays_as_it_is() {
    let old = cluster(&[]);
    let kept = "keeps its name and port";
    let check = |path: &str, value: Value| {
        refused(CLUSTER, &cluster(&[(path, value)]), Some(&old), kept);
    };
    check("/spec/listeners/0/port", json!(9095));
    check("/spec/listeners/0/name", json!("inside"));
    check("/spec/listeners/0", json!({ "name": "inside", "port": 9095 }));
    let first = json!({ "name": "first", "port": 9095 });
    check("/spec/listeners", json!([first, { "name": "plain", "port": 9092 }]));
    let listeners = |all: Value| cluster(&[("/spec/listeners", all)]);
    let plain = || json!({ "name": "plain", "port": 9092 });
    let ext = json!({ "name": "outside", "port": 9094, "type": "NodePort" });
    accepted(CLUSTER, &listeners(json!([ext, plain()])), Some(&old));
    accepted(CLUSTER, &listeners(json!([plain()])), Some(&old));
    let more = json!({ "name": "other", "port": 9095 });
    accepted(CLUSTER, &listeners(json!([plain(), more])), Some(&old));
}

#[test]
fn a_load_balancer_keeps_its_class() {
    let with = |class: Value| {
        let mut listener = json!({ "name": "outside", "port": 9094, "type": "LoadBalancer" });
        if !class.is_null() {
            listener["loadBalancerClass"] = class;
        }
        cluster(&[("/spec/listeners/1", listener)])
    };
    let (none, a, b) = (with(Value::Null), with(json!("a")), with(json!("b")));
    for (old, new) in [(&none, &a), (&a, &none), (&a, &b)] {
        refused(CLUSTER, new, Some(old), "loadBalancerClass of a listener cannot change");
    }
    accepted(CLUSTER, &a, Some(&a));
    // Another kind of Service has none.
    accepted(CLUSTER, &cluster(&[]), Some(&a));
    accepted(CLUSTER, &a, Some(&cluster(&[])));
}

#[test]
fn reserved_keys_are_refused_by_name() {
    for key in crd::RESERVED_BROKER_KEYS {
        let path = format!("/spec/config/{key}");
        refused(CLUSTER, &cluster(&[(&path, json!("1"))]), None, &format!("{key} follows from"));
        assert!(crd::is_reserved_broker_key(key));
    }
    for key in crd::RESERVED_TOPIC_KEYS {
        let config = json!({ key: "0:1" });
        let want = format!("{key} is set by the operator");
        refused(TOPIC, &topic(&[("/spec/config", config)]), None, &want);
    }
    assert!(crd::is_reserved_broker_key("controller.quorum.something.new"));
    assert!(!crd::is_reserved_broker_key("log.retention.ms"));
}

#[test]
fn what_cannot_change_in_a_cluster() {
    let old = cluster(&[]);
    let check = |path: &str, value: Value, want: &str| {
        refused(CLUSTER, &cluster(&[(path, value)]), Some(&old), want);
    };
    // Below what the volumes have; above that a size can be taken back.
    let mut holds = cluster(&[("/spec/brokers/storage/size", json!("100Ti"))]);
    holds["status"] = json!({ "storageSize": "10Gi" });
    accepted(CLUSTER, &holds, Some(&holds));
    for (size, shrinks) in [("9Gi", true), ("10G", true), ("10240Mi", false), ("1Ti", false)] {
        let mut new = holds.clone();
        new["spec"]["brokers"]["storage"]["size"] = json!(size);
        match shrinks {
            true => refused(CLUSTER, &new, Some(&holds), "a volume cannot shrink"),
            false => accepted(CLUSTER, &new, Some(&holds)),
        }
    }
    check("/spec/brokers/storage/storageClass", json!("slow"), "storage class of existing");
    check("/spec/brokers/storage/storageClass", Value::Null, "storage class of existing");
    check("/spec/brokers/storage", Value::Null, "storage cannot be added to or removed");
    let without = cluster(&[("/spec/brokers/storage", Value::Null)]);
    refused(CLUSTER, &old, Some(&without), "storage cannot be added to or removed");
    for (path, value) in [
        ("/spec/brokers/storage/size", json!("10240Mi")),
        ("/spec/brokers/storage/size", json!("11Gi")),
        ("/spec/brokers/storage/deletionPolicy", json!("Delete")),
        ("/spec/brokers/replicas", json!(5)),
        ("/spec/controllers/replicas", json!(1)),
        ("/spec/listeners/1", json!({ "name": "other", "port": 9095, "type": "LoadBalancer" })),
        ("/spec/config", Value::Null),
        ("/spec/paused", json!(true)),
    ] {
        accepted(CLUSTER, &cluster(&[(path, value)]), Some(&old));
    }
    let fewer = [("/spec/brokers/replicas", json!(2))];
    refused(CLUSTER, &cluster(&fewer), Some(&old), "cannot be more than brokers.replicas");
}

#[test]
fn topics_that_can_never_work_are_refused() {
    accepted(TOPIC, &topic(&[]), None);
    accepted(TOPIC, &topic(&[("/spec/topicName", json!("Castle.telemetry_1"))]), None);
    let check = |path: &str, value: Value, want: &str| {
        refused(TOPIC, &topic(&[(path, value)]), None, want);
    };
    check("/spec/topicName", json!("."), "cannot be named '.' or '..'");
    check("/spec/topicName", json!(".."), "cannot be named '.' or '..'");
    check("/spec/topicName", json!("a b"), "letters, digits");
    check("/spec/topicName", json!("__consumer_offsets"), "internal");
    check("/spec/topicName", json!("__cluster_metadata"), "internal");
    check("/metadata/name", json!("n".repeat(250)), "at most 249 characters");
    let long = [("/metadata/name", json!("n".repeat(250))), ("/spec/topicName", json!("short"))];
    accepted(TOPIC, &topic(&long), None);
}

#[test]
fn what_cannot_change_in_a_topic() {
    let old = topic(&[]);
    let check = |path: &str, value: Value, want: &str| {
        refused(TOPIC, &topic(&[(path, value)]), Some(&old), want);
    };
    check("/spec/partitions", json!(5), "cannot be reduced");
    check("/spec/clusterRef/name", json!("other"), "cannot move to another cluster");
    check("/spec/topicName", json!("other"), "cannot be renamed");
    for (path, value) in [
        ("/spec/partitions", json!(7)),
        ("/spec/topicName", json!("messages")),
        ("/spec/replicationFactor", json!(2)),
        ("/spec/deletionPolicy", json!("Delete")),
        ("/spec/config", json!({ "retention.ms": 1000 })),
    ] {
        accepted(TOPIC, &topic(&[(path, value)]), Some(&old));
    }
    let named = topic(&[("/spec/topicName", json!("other"))]);
    refused(TOPIC, &old, Some(&named), "cannot be renamed");
}

#[test]
fn the_samples_are_taken() {
    let samples = concat!(env!("CARGO_MANIFEST_DIR"), "/../../manifests/samples");
    let files =
        [samples.to_owned(), format!("{samples}/cloud")].map(|d| std::fs::read_dir(d).unwrap());
    let paths = files.into_iter().flatten().map(|file| file.unwrap().path());
    let mut resources = 0;
    for path in paths.filter(|path| path.is_file()) {
        let text = std::fs::read_to_string(path).unwrap();
        for document in serde_yaml::Deserializer::from_str(&text) {
            let resource = serde_yaml::Value::deserialize(document).unwrap();
            let kind = resource["kind"].as_str().unwrap().to_owned();
            match kind.as_str() {
                "KafkaCluster" => {
                    let c: KafkaCluster = serde_yaml::from_value(resource).unwrap();
                    accepted(CLUSTER, &serde_json::to_value(c).unwrap(), None);
                }
                "Topic" => {
                    let t: Topic = serde_yaml::from_value(resource).unwrap();
                    accepted(TOPIC, &serde_json::to_value(t).unwrap(), None);
                }
                _ => panic!("{kind} in the samples"),
            }
            resources += 1;
        }
    }
    assert!(resources >= 5, "{resources}");
}
