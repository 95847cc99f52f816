//! Files that are taken, files that are refused, and that this reader and the operator's agree.
#![allow(clippy::unwrap_used)]

use super::*;

const CLUSTER: &str = "apiVersion: barnabas.dev/v1alpha1\nkind: KafkaCluster\n\
    metadata: {name: a}\n\
    spec: {brokers: {replicas: 3}, config: {min.insync.replicas: 2}}\n";

#[test]
fn documents_of_one_file() {
    let text = format!(
        "---\n{CLUSTER}---\napiVersion: v1\nkind: Namespace\nmetadata: {{name: n}}\n---\n\
         apiVersion: barnabas.dev/v1alpha1\nkind: Topic\nmetadata: {{name: t}}\n\
         spec: {{clusterRef: {{name: a}}, partitions: 6, config: {{retention.ms: 1000}}}}\n"
    );
    let all = parse_manifests(&text).unwrap();
    let [Manifest::Cluster(cluster), Manifest::Other(other), Manifest::Topic(topic)] = &all[..]
    else {
        panic!("{all:?}")
    };
    assert_eq!(cluster.spec.voters(), 3);
    assert_eq!(cluster.spec.listeners[0].port, 9092);
    assert_eq!(cluster.spec.config["min.insync.replicas"].to_string(), "2");
    assert_eq!(other, "Namespace");
    assert_eq!((topic.topic_name(), topic.spec.partitions), ("t", 6));
}

#[test]
fn errors_name_the_document_and_the_field() {
    let check = |text: &str, want: &str| {
        let error = parse_manifests(text).unwrap_err().to_string();
        assert!(error.contains(want), "{error}");
    };
    check(
        &CLUSTER.replace("replicas: 3", "replicas: 3, replica: 3"),
        "document 1: KafkaCluster a: spec.brokers: unknown field `replica`",
    );
    check(&CLUSTER.replace("{replicas: 3}", "{}"), "spec.brokers.replicas is not there");
    check(&CLUSTER.replace("replicas: 3", "replicas: 0"), "spec.brokers.replicas is 0, below 1");
    check(
        &CLUSTER.replace("replicas: 2}", "replicas: [2]}"),
        "spec.config.min.insync.replicas is not an integer or a string",
    );
    check(&CLUSTER.replace("min.insync.replicas: 2", "a: [2]"), "[2] is not one value");
    check(&CLUSTER.replace("v1alpha1", "v9"), "barnabas.dev/v9 is not served");
    check(&CLUSTER.replace("KafkaCluster", "Klaster"), "kind Klaster");
    check(&CLUSTER.replace("{name: a}", "{}"), "needs metadata.name");
    check(&format!("{CLUSTER}---\n- a list\n"), "document 2");
}

/// What is read here, in the operator's words.
fn told(manifest: &Manifest) -> String {
    match manifest {
        Manifest::Cluster(c) => {
            let listeners: Vec<_> =
                c.spec.listeners.iter().map(|l| format!("{}:{}", l.name, l.port)).collect();
            let config: Vec<_> = c.spec.config.iter().map(|(k, v)| format!("{k}={v}")).collect();
            let (name, spec) = (&c.metadata.name, &c.spec);
            let (brokers, voters) = (spec.brokers.replicas, spec.voters());
            format!("{name} {brokers} {voters} {listeners:?} {config:?}")
        }
        Manifest::Topic(t) => {
            let config: Vec<_> = t.spec.config.iter().map(|(k, v)| format!("{k}={v}")).collect();
            let (name, cluster, spec) = (t.topic_name(), &t.spec.cluster_ref.name, &t.spec);
            let (partitions, factor) = (spec.partitions, spec.replication_factor);
            format!("{name} {cluster} {partitions} {factor:?} {config:?}")
        }
        Manifest::Other(kind) => kind.clone(),
    }
}

fn told_by_the_operator(resource: Value) -> Result<String, serde_json::Error> {
    let kind = resource["kind"].as_str().unwrap().to_owned();
    Ok(match kind.as_str() {
        "KafkaCluster" => {
            let c: crd::KafkaCluster = serde_json::from_value(resource)?;
            let listeners: Vec<_> =
                c.spec.listeners.iter().map(|l| format!("{}:{}", l.name, l.port)).collect();
            let config: Vec<_> = c.spec.config.iter().map(|(k, v)| format!("{k}={v}")).collect();
            let (name, spec) = (c.metadata.name.clone().unwrap(), &c.spec);
            let (brokers, voters) = (spec.brokers.replicas, spec.voters());
            format!("{name} {brokers} {voters} {listeners:?} {config:?}")
        }
        "Topic" => {
            let t: crd::Topic = serde_json::from_value(resource)?;
            let config: Vec<_> = t.spec.config.iter().map(|(k, v)| format!("{k}={v}")).collect();
            let (name, cluster, spec) = (t.topic_name(), &t.spec.cluster_ref.name, &t.spec);
            let (partitions, factor) = (spec.partitions, spec.replication_factor);
            format!("{name} {cluster} {partitions} {factor:?} {config:?}")
        }
        _ => kind,
    })
}

/// What the operator makes of each document.
fn read_by_the_operator(text: &str) -> Result<Vec<String>, serde_json::Error> {
    let documents = serde_yaml::Deserializer::from_str(text);
    documents.map(|document| told_by_the_operator(Value::deserialize(document).unwrap())).collect()
}

#[test]
fn the_operator_reads_the_samples_as_they_are_read_here() {
    let samples = concat!(env!("CARGO_MANIFEST_DIR"), "/../../manifests/samples");
    let files = std::fs::read_dir(samples).unwrap().map(|entry| entry.unwrap().path());
    let files: Vec<_> = files.filter(|path| path.is_file()).collect();
    assert!(files.len() >= 3, "{files:?}");
    let texts = files.iter().map(|file| std::fs::read_to_string(file).unwrap());
    for text in texts.chain([CLUSTER.to_owned(), every_value()]) {
        let here: Vec<String> = parse_manifests(&text).unwrap().iter().map(told).collect();
        assert_eq!(here, read_by_the_operator(&text).unwrap());
    }
}

fn every_value() -> String {
    CLUSTER.replace(
        "min.insync.replicas: 2",
        "min.insync.replicas: 2, a: true, b: 1.5, c: text, d: -7, e: \"8\"",
    )
}

#[test]
fn what_the_operator_cannot_read_is_refused_here_too() {
    for (from, to) in [
        ("replicas: 3", "replicas: many"),
        ("replicas: 3", "replicas: 3, storage: {}"),
        ("replicas: 3", "replicas: 3, storage: {size: 1Gi, deletionPolicy: Never}"),
        ("spec: {", "spec: {paused: maybe, "),
        ("spec: {", "spec: {listeners: [{name: a}], "),
        ("spec: {", "spec: {rack: {}, racks: {}, "),
    ] {
        let text = CLUSTER.replace(from, to);
        assert!(read_by_the_operator(&text).is_err(), "{text}");
        assert!(parse_manifests(&text).is_err(), "{text}");
    }
}
