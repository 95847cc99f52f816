//! What a cluster under test is made of, and the properties file of each of its brokers.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::ports;

/// Whose brokers run.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Target {
    Barnabas,
    /// Apache Kafka from the registry: the oracle and the peer.
    Apache,
}

impl Target {
    /// `BARNABAS_E2E_TARGET=apache` turns every client test into a check of the client itself.
    pub fn from_env() -> Target {
        match std::env::var("BARNABAS_E2E_TARGET").as_deref() {
            Ok("apache") => Target::Apache,
            _ => Target::Barnabas,
        }
    }
}

#[derive(Clone, Debug)]
pub struct ClusterConfig {
    pub target: Target,
    /// Another broker of Barnabas than [`crate::setup::broker`].
    pub binary: Option<PathBuf>,
    pub brokers: usize,
    /// Whether inter-broker and controller traffic passes through links that can be cut.
    pub links: bool,
    /// How many of the brokers begin the quorum; the others join as observers.
    pub voters: usize,
    /// Whether brokers follow a file that tells where they are.
    pub pod_config: bool,
    /// More listeners of the first broker, by their names and ports.
    pub listeners: Vec<(String, u16)>,
    /// Keys set on every broker, over the harness's own.
    pub properties: BTreeMap<String, String>,
}

impl ClusterConfig {
    pub fn new(brokers: usize) -> ClusterConfig {
        let target = Target::from_env();
        ClusterConfig {
            target,
            binary: None,
            brokers,
            links: false,
            voters: brokers,
            pod_config: false,
            listeners: Vec::new(),
            properties: BTreeMap::new(),
        }
    }

    pub fn set(mut self, key: &str, value: impl ToString) -> ClusterConfig {
        self.properties.insert(key.to_owned(), value.to_string());
        self
    }

    /// Another listener, of a cluster of one broker.
    pub fn listener(mut self, name: &str, port: u16) -> ClusterConfig {
        self.listeners.push((name.to_owned(), port));
        self
    }

    pub fn voters(mut self, voters: usize) -> ClusterConfig {
        self.voters = voters;
        self
    }

    pub fn replication(&self) -> usize {
        self.brokers.min(3)
    }
}

/// The addresses of one broker. With links, others reach `replication` and `controller` through
/// the proxies at the advertised ports.
#[derive(Clone, Copy, Debug)]
pub struct Addresses {
    pub client: u16,
    pub replication: u16,
    pub controller: u16,
    pub replication_advertised: u16,
    pub controller_advertised: u16,
    /// Probes, metrics, and what the operator asks.
    pub http: u16,
}

impl Addresses {
    pub fn allocate(links: bool) -> Result<Addresses> {
        let (replication, controller) = (ports::free()?, ports::free()?);
        Ok(Addresses {
            client: ports::free()?,
            http: ports::free()?,
            replication,
            controller,
            replication_advertised: if links { ports::free()? } else { replication },
            controller_advertised: if links { ports::free()? } else { controller },
        })
    }
}

/// The secret of all brokers of a cluster.
pub fn secret_file(cluster: &Path) -> PathBuf {
    cluster.join("internal.secret")
}

/// The properties file of broker `id` (brokers are numbered from 1).
pub fn properties(config: &ClusterConfig, all: &[Addresses], id: usize, dir: &Path) -> String {
    let own = &all[id - 1];
    let voters: Vec<String> = all
        .iter()
        .enumerate()
        .take(config.voters)
        .map(|(i, a)| format!("{}@127.0.0.1:{}", i + 1, a.controller_advertised))
        .collect();
    let mut listeners = vec![
        format!("PLAINTEXT://127.0.0.1:{}", own.client),
        format!("REPLICATION://127.0.0.1:{}", own.replication),
        format!("CONTROLLER://127.0.0.1:{}", own.controller),
    ];
    let mut advertised = vec![
        format!("PLAINTEXT://127.0.0.1:{}", own.client),
        format!("REPLICATION://127.0.0.1:{}", own.replication_advertised),
    ];
    for (name, port) in config.listeners.iter().filter(|_| id == 1) {
        listeners.push(format!("{name}://127.0.0.1:{port}"));
        advertised.push(format!("{name}://127.0.0.1:{port}"));
    }
    let map = "PLAINTEXT:PLAINTEXT,REPLICATION:PLAINTEXT,CONTROLLER:PLAINTEXT";
    let replication = config.replication().to_string();
    let mut keys = BTreeMap::new();
    let mut set = |key: &str, value: String| keys.insert(key.to_owned(), value);
    set("process.roles", "broker,controller".to_owned());
    set("node.id", id.to_string());
    set("controller.quorum.voters", voters.join(","));
    set("listeners", listeners.join(","));
    set("advertised.listeners", advertised.join(","));
    set("listener.security.protocol.map", map.to_owned());
    set("controller.listener.names", "CONTROLLER".to_owned());
    set("inter.broker.listener.name", "REPLICATION".to_owned());
    set("log.dirs", dir.join("data").display().to_string());
    set("offsets.topic.replication.factor", replication.clone());
    // As many as a small machine fails over in a moment; the client tests need no more.
    set("offsets.topic.num.partitions", "6".to_owned());
    set("transaction.state.log.replication.factor", replication);
    set("transaction.state.log.min.isr", config.replication().div_ceil(2).to_string());
    set("auto.create.topics.enable", "false".to_owned());
    set("group.initial.rebalance.delay.ms", "200".to_owned());
    if config.target == Target::Barnabas {
        set("barnabas.http.listener", format!("127.0.0.1:{}", own.http));
        if let Some(cluster) = dir.parent() {
            set("barnabas.internal.secret.file", secret_file(cluster).display().to_string());
        }
    }
    keys.extend(config.properties.clone());
    if config.binary.is_some() || std::env::var_os("BARNABAS_BROKER_BIN").is_some() {
        // For comparisons with a release that does not know them.
        let lacks = std::env::var("BARNABAS_BROKER_LACKS").unwrap_or_default();
        keys.retain(|key, _| !lacks.split(',').any(|lacked| lacked == key));
    }
    keys.iter().map(|(key, value)| format!("{key}={value}\n")).collect()
}
