//! Resources that several scenarios begin with. Small brokers: four nodes share one machine.

use std::fs;

use anyhow::{Context, Result};

use crate::scenario::repository;

/// A sample as it stands in the repository.
pub fn sample(name: &str) -> Result<String> {
    let path = repository().join("manifests/samples").join(name);
    fs::read_to_string(&path).with_context(|| path.display().to_string())
}

/// A cluster with volumes, spread over the three zones, whose topics are kept three times.
pub fn cluster(name: &str, brokers: i32) -> String {
    cluster_with(name, brokers, "")
}

/// The same with more of a spec, indented by two.
pub fn cluster_with(name: &str, brokers: i32, more: &str) -> String {
    format!(
        "\
apiVersion: barnabas.dev/v1alpha1
kind: KafkaCluster
metadata:
  name: {name}
spec:
  brokers:
    replicas: {brokers}
    storage:
      size: 1Gi
      deletionPolicy: Delete
    resources: {{requests: {{cpu: 100m}}}}
  rack:
    nodeLabel: topology.kubernetes.io/zone
  config:
    default.replication.factor: 3
    min.insync.replicas: 2
    offsets.topic.replication.factor: 3
    offsets.topic.num.partitions: 6
{more}"
    )
}

/// The smallest cluster: one broker, nothing kept twice. For many of them, and for what one shows.
pub fn single(name: &str) -> String {
    format!(
        "\
apiVersion: barnabas.dev/v1alpha1
kind: KafkaCluster
metadata:
  name: {name}
spec:
  brokers:
    replicas: 1
    storage:
      size: 64Mi
      deletionPolicy: Delete
  config:
    default.replication.factor: 1
    min.insync.replicas: 1
    offsets.topic.replication.factor: 1
    offsets.topic.num.partitions: 1
"
    )
}

/// A topic of that cluster.
pub fn topic(name: &str, cluster: &str, partitions: i32, replication_factor: i32) -> String {
    format!(
        "\
apiVersion: barnabas.dev/v1alpha1
kind: Topic
metadata:
  name: {name}
spec:
  clusterRef:
    name: {cluster}
  partitions: {partitions}
  replicationFactor: {replication_factor}
"
    )
}

/// Several documents as one file.
pub fn documents(parts: &[&str]) -> String {
    parts.join("---\n")
}

/// A Service before the pod of that name, which serves Kubernetes itself.
pub(crate) fn service(pod: &str) -> String {
    format!(
        "\
apiVersion: v1
kind: Service
metadata:
  name: {pod}
spec:
  selector: {{pod: {pod}}}
  ports: [{{port: 443, targetPort: 8443}}]
"
    )
}
