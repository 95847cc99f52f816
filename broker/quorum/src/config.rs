//! What a node of the metadata quorum must know to start: who it is, where its files are, who the
//! configured voters are, and the times that decide how fast a dead controller is replaced.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use base::{BrokerId, TopicId};
use serde::{Deserialize, Serialize};

use transport::{Acceptor, Connector};

use crate::secret::Guard;

/// The pause before what is to be committed is tried again that came before the first heartbeat's
/// answer.
pub(crate) const LEASE_PAUSE: Duration = Duration::from_millis(5);

/// Address of a node's controller listener, and the disk that is expected there. The host is
/// resolved at every connect, so that a pod that moved is found again.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default, Serialize, Deserialize)]
pub struct NodeAddress {
    pub host: String,
    pub port: u16,
    /// The directory that holds the node's vote and log: with the node's id it is the key of a
    /// voter. Zero where it is not known: in lists of voters, and from older versions.
    #[serde(default, skip_serializing_if = "TopicId::is_zero")]
    pub directory: TopicId,
}

impl NodeAddress {
    pub fn new(host: impl Into<String>, port: u16) -> NodeAddress {
        NodeAddress { host: host.into(), port, directory: TopicId::ZERO }
    }

    pub fn in_directory(self, directory: TopicId) -> NodeAddress {
        NodeAddress { directory, ..self }
    }

    pub fn is_at(&self, other: &NodeAddress) -> bool {
        self.host == other.host && self.port == other.port
    }
}

/// Whether these can be the same directory, as far as both are known.
pub fn may_be_same(one: TopicId, other: TopicId) -> bool {
    one == other || one.is_zero() || other.is_zero()
}

impl fmt::Display for NodeAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

/// One voter as `controller.quorum.voters` lists it: `id@host:port`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Voter {
    pub id: BrokerId,
    pub address: NodeAddress,
}

/// The text is not `id@host:port`.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("a voter is written id@host:port, not {0:?}")]
pub struct ParseVoterError(pub String);

impl FromStr for Voter {
    type Err = ParseVoterError;

    fn from_str(text: &str) -> Result<Voter, ParseVoterError> {
        let error = || ParseVoterError(text.to_owned());
        let (id, address) = text.trim().split_once('@').ok_or_else(error)?;
        let (host, port) = address.rsplit_once(':').ok_or_else(error)?;
        let host = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(host);
        let id: i32 = id.parse().map_err(|_| error())?;
        let port: u16 = port.parse().map_err(|_| error())?;
        if id < 0 || port == 0 || host.is_empty() {
            return Err(error());
        }
        Ok(Voter { id: BrokerId(id), address: NodeAddress::new(host, port) })
    }
}

impl Voter {
    /// Parses the whole value of `controller.quorum.voters`, a comma-separated list.
    pub fn parse_list(text: &str) -> Result<Vec<Voter>, ParseVoterError> {
        text.split(',').filter(|v| !v.trim().is_empty()).map(str::parse).collect()
    }
}

/// Times of the quorum. The defaults hold on two busy cores.
#[derive(Clone, Debug)]
pub struct Timing {
    /// The leader's heartbeats, and the granularity of every other time.
    pub heartbeat: Duration,
    /// A follower campaigns when it has heard nothing for `election_timeout_max` (the lease) plus
    /// a random time between the two bounds.
    pub election_timeout_min: Duration,
    pub election_timeout_max: Duration,
    /// How long one controller request or proposal may take before its outcome is unknown.
    pub request_timeout: Duration,
    /// Lead that each voter gives the one before it (in order of ids) when all of them see at
    /// once that the leader's process is gone.
    pub election_stagger: Duration,
    /// How long a connection attempt, and the first answer on it, may take.
    pub connect_timeout: Duration,
    /// An observer whose broker is not registered is forgotten after this long a silence.
    pub forget_after: Duration,
}

impl Default for Timing {
    fn default() -> Timing {
        Timing {
            heartbeat: Duration::from_millis(50),
            election_timeout_min: Duration::from_millis(150),
            election_timeout_max: Duration::from_millis(300),
            request_timeout: Duration::from_secs(5),
            election_stagger: Duration::from_millis(40),
            connect_timeout: Duration::from_millis(250),
            forget_after: Duration::from_secs(30),
        }
    }
}

/// Everything that [`crate::Quorum::start`] needs beside the listener and the handler.
#[derive(Clone, Debug)]
pub struct QuorumConfig {
    pub node_id: BrokerId,
    /// `None`: any cluster is accepted. Two nodes with different cluster ids refuse each other.
    pub cluster_id: Option<String>,
    /// Where [`crate::settle_dir`] says; created when missing.
    pub dir: PathBuf,
    /// Where other nodes reach this node's controller listener, with the id of its directory.
    pub advertised: NodeAddress,
    /// What other nodes have to prove.
    pub guard: Guard,
    /// What the controller listener speaks, here and at other nodes.
    pub acceptor: Acceptor,
    pub connector: Connector,
    /// `controller.quorum.voters`: who begins a new cluster, and whom a node asks that does not
    /// know who leads. Who is a voter later on is told by the committed membership alone.
    pub voters: Vec<Voter>,
    /// Whether an empty node may begin a new cluster (`barnabas.quorum.begin`). Without it, it
    /// waits for the existing one, however empty those look that it asks.
    pub may_begin: bool,
    pub timing: Timing,
    /// A snapshot is taken after this many entries; it bounds replay at start and the log's size.
    pub snapshot_entries: u64,
}

impl QuorumConfig {
    pub fn new(
        node_id: BrokerId,
        dir: impl Into<PathBuf>,
        advertised: NodeAddress,
        voters: Vec<Voter>,
    ) -> QuorumConfig {
        QuorumConfig {
            node_id,
            cluster_id: None,
            dir: dir.into(),
            advertised,
            guard: Guard::Open,
            acceptor: Acceptor::Plain,
            connector: Connector::Plain,
            voters,
            may_begin: true,
            timing: Timing::default(),
            snapshot_entries: 5_000,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn voters_are_parsed_as_kafka_writes_them() {
        let voters = Voter::parse_list("0@a.example:9093, 1@[::1]:19093").expect("valid");
        assert_eq!(voters[0].id, BrokerId(0));
        assert_eq!(voters[0].address, NodeAddress::new("a.example", 9093));
        assert_eq!(voters[1].address, NodeAddress::new("::1", 19093));
        assert_eq!(voters[1].address.to_string(), "[::1]:19093");
        for bad in ["1", "1@host", "x@host:1", "1@:9", "-1@h:9", "1@h:0", "1@h:70000"] {
            assert!(Voter::parse_list(bad).is_err(), "{bad}");
        }
    }
}
