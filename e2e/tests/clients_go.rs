//! franz-go against three brokers.

use e2e::{ClusterConfig, clients, with_cluster};

#[test]
fn franz_go() {
    with_cluster(ClusterConfig::new(3), clients::go_scenarios);
}
