//! Tests of the builders: what a user, a chart or another part of the operator relies on.
#![allow(clippy::unwrap_used)]

mod addresses;
mod config;
mod golden;
mod names;
mod restarts;
mod secret;

use std::collections::BTreeMap;

use crd::KafkaCluster;

use crate::{ClusterInput, Facts, Objects, SecretUse, objects};

const UID: &str = "59bbd0ec-f8dd-4fe1-9988-392827ca8660";

/// A cluster named `castle` in namespace `keep` with the given spec (YAML).
pub(super) fn cluster(spec: &str) -> KafkaCluster {
    let text = format!(
        "apiVersion: barnabas.dev/v1alpha1\nkind: KafkaCluster\n\
         metadata: {{name: castle, namespace: keep, uid: {UID}}}\nspec: {spec}\n"
    );
    serde_yaml::from_str(&text).unwrap()
}

pub(super) const MINIMAL: &str = "{brokers: {replicas: 1}}";

/// Everything that a spec may have.
pub(super) const FULL: &str = "
  image: registry.example/broker:1
  imagePullPolicy: IfNotPresent
  imagePullSecrets: [pull]
  brokers:
    replicas: 3
    storage: {size: 100Gi, storageClass: fast, deletionPolicy: Delete}
    resources: {requests: {cpu: 1, memory: 1Gi}, limits: {memory: 2Gi}}
    podTemplate:
      labels: {team: data, app.kubernetes.io/name: other}
      annotations: {example.com/note: 'yes'}
      tolerations: [{key: dedicated, operator: Exists}]
      nodeSelector: {disk: ssd}
      priorityClassName: high
      terminationGracePeriodSeconds: 120
      env: [{name: BARNABAS_LOG, value: debug}, {name: POD_NAME, value: wrong}]
      serviceAccountName: kafka
  controllers: {replicas: 3}
  listeners:
    - {name: plain, port: 9092}
    - name: outside
      port: 9095
      type: NodePort
      nodePort: 31000
      brokerNodePorts: {'1': 31001}
      annotations: {example.com/dns: 'on'}
    - {name: cloud, port: 9096, type: LoadBalancer, loadBalancerClass: fast-lb}
  rack: {}
  config:
    default.replication.factor: 3
    min.insync.replicas: 2
    num.partitions: 6
    background.threads: 20
";

static NOTHING: Facts = Facts { brokers: BTreeMap::new(), bootstrap: BTreeMap::new() };

pub(super) fn input(cluster: &KafkaCluster) -> ClusterInput<'_> {
    let replicas = cluster.spec.brokers.replicas;
    ClusterInput {
        cluster,
        replicas,
        voters: &[0, 1, 2],
        begin: true,
        secret: SecretUse::Required,
        image: "barnabas/broker:1",
        facts: &NOTHING,
    }
}

pub(super) fn build(cluster: &KafkaCluster) -> Objects {
    objects(&input(cluster))
}
