//! The outside view: clusters of real broker processes on this machine, real clients against them,
//! and faults. Nothing here links the broker; what a test must know, it asks over the protocol or
//! reads from the process table. The same harness runs Apache Kafka, which validates the clients
//! and is the peer of the benchmark.

pub mod admin;
pub mod bank;
pub mod bench;
pub mod clients;
pub mod cluster;
pub mod config;
pub mod disk;
pub mod dump;
pub mod fuzz;
pub mod gaps;
pub mod http;
pub mod load;
pub mod metrics;
pub mod ports;
pub mod process;
pub mod proxy;
pub mod raw;
pub mod setup;
pub mod victim;
pub mod wait;

pub use cluster::Cluster;
pub use config::{ClusterConfig, Target};

/// Tests of one binary run on parallel threads by default; clusters do not share two cores well.
pub fn exclusive() -> std::sync::MutexGuard<'static, ()> {
    static ONE_AT_A_TIME: std::sync::Mutex<()> = std::sync::Mutex::new(());
    ONE_AT_A_TIME.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// A test's frame: a fresh cluster, the test, and if it fails the logs of the brokers with the
/// reason. One at a time.
pub fn with_cluster(config: ClusterConfig, test: impl FnOnce(&mut Cluster) -> anyhow::Result<()>) {
    let _one = exclusive();
    let mut cluster = match Cluster::start(config) {
        Ok(cluster) => cluster,
        Err(error) => panic!("the cluster does not start: {error:#}"),
    };
    let result = test(&mut cluster).and_then(|()| cluster.check_alive());
    if let Err(error) = result {
        // The cluster's drop prints the logs while the panic unwinds.
        panic!("{error:#}");
    }
}
