//! The configuration of one broker: strings of its files become types here. What the metadata may
//! change while it runs is read where it is used, over `Config::explicit`. Keys are Kafka's
//! keys with Kafka's defaults (`metadata::config::broker_key`); a key or value that is wrong is
//! refused by name, a key that tunes something this broker does not have is accepted with a
//! warning, and a key whose value would promise something the broker does not do (Kerberos, tiers)
//! is refused unless it has its default.

mod authorization;
mod cluster_id;
mod error;
mod jaas;
mod listener;
mod listeners;
mod parse;
mod pod;
mod properties;
mod sections;
mod security;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
#[cfg(test)]
mod tests;
mod values;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use authorizer::Authorizer;
use base::BrokerId;
use metadata::config::broker_key;

pub use cluster_id::{cluster_id_of, internal_secret_file};
pub use error::ConfigError;
pub use listener::{Endpoint, SecurityProtocol, Voter, parse_host_port};
pub use pod::Place;
pub use properties::{PropertiesError, parse as parse_properties};
pub use sections::{
    Assignor, CleanerConfig, ConsumerGroupConfig, GroupConfig, LogConfig, NetConfig, OffsetsConfig,
    QuorumConfig, QuotaConfig, ReplicaConfig, SecretConfig, SessionConfig, TopicConfig,
    TransactionConfig,
};
pub use security::{ListenerSecurity, Mechanism, Password, SaslConfig};

/// Everything the process is told at its start. Never changes afterwards; what may change at run
/// time lives in the metadata image.
#[derive(Clone, PartialEq, Debug)]
pub struct Config {
    pub broker_id: BrokerId,
    /// Whether this broker may be a voter of the metadata quorum.
    pub is_controller: bool,
    /// What each listener speaks, the internal one included.
    pub security: Vec<ListenerSecurity>,
    /// Client listeners to bind.
    pub listeners: Vec<Endpoint>,
    /// What clients are told, one per client listener.
    pub advertised: Vec<Endpoint>,
    /// Name of the listener that brokers use among each other.
    pub inter_broker_listener: String,
    /// Address of the internal listener (quorum and broker sessions) to bind.
    pub controller_listener: Endpoint,
    /// What the other brokers are told about the internal listener.
    pub controller_advertised: Endpoint,
    pub voters: Vec<Voter>,
    pub cluster_id: Option<String>,
    pub rack: Option<String>,
    /// Directories of the logs; the first one takes the metadata log by default.
    pub log_dirs: Vec<PathBuf>,
    pub metadata_log_dir: PathBuf,
    pub controlled_shutdown: bool,
    pub worker_threads: usize,
    pub http_listener: Option<SocketAddr>,
    /// Series of consumer lag that the metrics may have.
    pub lag_series_max: usize,
    pub net: NetConfig,
    pub quotas: QuotaConfig,
    pub log: LogConfig,
    pub topic: TopicConfig,
    pub replica: ReplicaConfig,
    pub group: GroupConfig,
    pub offsets: OffsetsConfig,
    pub transactions: TransactionConfig,
    pub session: SessionConfig,
    pub quorum: QuorumConfig,
    pub secret: SecretConfig,
    /// Who may do what; `None`: everybody may do everything.
    pub authorizer: Option<Authorizer>,
    /// What the file and the overrides set, as text.
    pub explicit: Arc<BTreeMap<String, String>>,
    /// Keys that are set without effect, for a warning at start.
    pub without_effect: Vec<String>,
    /// Keys of older Kafkas and of others, with what is known of them, for the same.
    pub ignored: Vec<(String, String)>,
}

impl Config {
    /// Reads properties files, later ones over earlier ones, and applies `key=value` overrides on
    /// top.
    pub fn load(files: &[PathBuf], overrides: &[String]) -> Result<Config, ConfigError> {
        let mut properties = BTreeMap::new();
        for path in files {
            let file =
                |problem: String| ConfigError::File { path: path.display().to_string(), problem };
            let text = std::fs::read_to_string(path).map_err(|e| file(e.to_string()))?;
            properties.extend(parse_properties(&text).map_err(|e| file(e.to_string()))?);
        }
        for item in overrides {
            let (key, value) =
                item.split_once('=').ok_or_else(|| ConfigError::Override(item.clone()))?;
            properties.insert(key.trim().to_owned(), value.trim().to_owned());
        }
        Config::from_properties(properties)
    }

    /// Checks every key and value.
    pub fn from_properties(properties: BTreeMap<String, String>) -> Result<Config, ConfigError> {
        parse::config(properties)
    }

    /// What a listener speaks.
    pub fn security_of(&self, listener: &str) -> Option<&ListenerSecurity> {
        self.security.iter().find(|security| security.listener == listener)
    }

    /// The text of a key: set explicitly, or its default.
    pub fn value(&self, name: &str) -> Option<&str> {
        match self.explicit.get(name) {
            Some(value) => Some(value),
            None => broker_key(name).and_then(|key| key.default),
        }
    }
}
