//! kafka-python, a client without a line of C, against three brokers.

use e2e::{ClusterConfig, clients, with_cluster};

#[test]
fn kafka_python() {
    with_cluster(ClusterConfig::new(3), |cluster| {
        clients::python_scenarios(cluster, "with_kafka_python")
    });
}
