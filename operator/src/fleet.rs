//! The pools of brokers that a cluster is to have.

use crd::KafkaCluster;
use plan::Fleet;

/// What the spec asks for. None of it is there yet, as far as this knows.
pub fn wanted(cluster: &KafkaCluster) -> Fleet {
    Fleet::of_one(cluster.spec.brokers.replicas, None)
}
