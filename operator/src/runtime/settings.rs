//! Settings of the operator: flags, each with an environment variable for the Deployment.

use std::net::SocketAddr;
use std::time::Duration;

/// Settings of `operator run`.
#[derive(clap::Args, Clone, Debug)]
pub struct Settings {
    /// Namespaces to watch, separated by commas; all of them where empty.
    #[arg(long, env = "WATCH_NAMESPACES", value_delimiter = ',', default_value = "")]
    pub watch_namespaces: Vec<String>,
    /// The operator's own namespace: where the Lease is.
    #[arg(long, env = "POD_NAMESPACE", default_value = "default")]
    pub namespace: String,
    /// Name of this replica: holder of the Lease.
    #[arg(long, env = "POD_NAME", default_value = "barnabas-operator")]
    pub pod_name: String,
    /// Name of the Lease that one replica holds while it works.
    #[arg(long, env = "LEASE_NAME", default_value = "barnabas-operator")]
    pub lease_name: String,
    /// Class of the clusters to look after (`spec.operatorClass`); those without one where empty.
    #[arg(long, env = "OPERATOR_CLASS", default_value = "")]
    pub operator_class: String,
    /// Work without a Lease; for a single replica only.
    #[arg(
        long, env = "NO_LEADER_ELECTION", action = clap::ArgAction::Set, default_value_t = false,
        default_missing_value = "true", num_args = 0..=1, value_name = "BOOL"
    )]
    pub no_leader_election: bool,
    /// Address of /metrics, /healthz and /readyz; `[::]` is every address there is, those of IPv4
    /// too.
    #[arg(long, env = "HTTP_ADDRESS", default_value = "[::]:8080")]
    pub http_address: SocketAddr,
    /// Read nodes and storage classes, which needs rights on the whole Kubernetes cluster. Without
    /// it racks, addresses of nodes and the growth of volumes are reported as not available.
    #[arg(
        long, env = "GLOBAL_READ", default_value_t = true, action = clap::ArgAction::Set,
        value_name = "BOOL"
    )]
    pub global_read: bool,
    /// Image of brokers whose cluster names none.
    #[arg(long, env = "BROKER_IMAGE")]
    pub broker_image: String,
    /// Port on which brokers answer probes.
    #[arg(long, hide = true, default_value_t = 9404)]
    pub broker_http_port: u16,
    /// Seconds after which a cluster at rest is looked at again.
    #[arg(long, env = "RESYNC_SECONDS", default_value_t = 60)]
    pub resync_seconds: u64,
    /// Clusters reconciled at a time.
    #[arg(long, env = "CONCURRENT_CLUSTERS", default_value_t = 8)]
    pub concurrent_clusters: u16,
    /// Clusters whose brokers are replaced at a time for no other reason than a new operator.
    #[arg(long, env = "CONCURRENT_ROLLS", default_value_t = 1)]
    pub concurrent_rolls: u16,
    /// What is logged, as `tracing` directives.
    #[arg(long, env = "LOG", default_value = "info")]
    pub log: String,
    #[arg(long, env = "LOG_FORMAT", value_enum, default_value_t = LogFormat::Compact)]
    pub log_format: LogFormat,
}

#[derive(clap::ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub enum LogFormat {
    Compact,
    Json,
}

impl Settings {
    /// The namespaces to watch; none means all.
    pub fn namespaces(&self) -> Vec<&str> {
        self.watch_namespaces.iter().map(|n| n.trim()).filter(|n| !n.is_empty()).collect()
    }

    /// What all replicas of this operator, and no other, call themselves.
    pub fn identity(&self) -> String {
        format!("{}/{}", self.namespace, self.lease_name)
    }

    pub fn resync(&self) -> Duration {
        Duration::from_secs(self.resync_seconds.max(1))
    }
}
