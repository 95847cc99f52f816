//! The types that openraft is instantiated with, and the conversions to the broker's own.
//!
//! `leader_id_std` allows one leader per term, so that the term alone identifies a controller's
//! reign: it is Kafka's controller epoch.

use std::fmt;

use base::BrokerId;
use bytes::Bytes;
use openraft::RaftTypeConfig;
use openraft::type_config::alias as of;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::config::NodeAddress;

openraft::declare_raft_types!(
    /// The one instantiation of openraft in this project.
    pub TypeConfig:
        D = Records,
        R = Outcome,
        NodeId = u64,
        Node = NodeAddress,
        Term = u64,
        LeaderId = openraft::impls::leader_id_std::LeaderId<Self::Term, Self::NodeId>,
);

pub type NodeId = u64;
pub type Entry = <TypeConfig as RaftTypeConfig>::Entry;
pub type LogId = of::LogIdOf<TypeConfig>;
pub type Vote = of::VoteOf<TypeConfig>;
pub type StoredMembership = of::StoredMembershipOf<TypeConfig>;
pub type SnapshotMeta = of::SnapshotMetaOf<TypeConfig>;
/// The snapshot's content: the encoded image.
pub type Snapshot = of::SnapshotOf<TypeConfig, Bytes>;
pub type LogFlushed = openraft::storage::IOFlushed<TypeConfig>;

/// What became of an entry's records: the same on every node.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Outcome {
    Applied,
    /// They do not fit the image before them; nothing of them was applied.
    Rejected(String),
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Outcome::Applied => f.write_str("applied"),
            Outcome::Rejected(why) => write!(f, "rejected: {why}"),
        }
    }
}

/// One entry's metadata records, encoded once by the proposer and shared by the log's cache, the
/// log file and every replication stream.
#[derive(Clone, PartialEq, Eq)]
pub struct Records(pub Bytes);

impl fmt::Debug for Records {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes of records", self.0.len())
    }
}

impl fmt::Display for Records {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

impl Serialize for Records {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}

impl<'de> Deserialize<'de> for Records {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Records, D::Error> {
        struct Visitor;
        impl<'de> serde::de::Visitor<'de> for Visitor {
            type Value = Records;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("bytes")
            }

            fn visit_bytes<E: serde::de::Error>(self, bytes: &[u8]) -> Result<Records, E> {
                Ok(Records(Bytes::copy_from_slice(bytes)))
            }

            fn visit_byte_buf<E: serde::de::Error>(self, bytes: Vec<u8>) -> Result<Records, E> {
                Ok(Records(Bytes::from(bytes)))
            }
        }
        deserializer.deserialize_byte_buf(Visitor)
    }
}

/// Broker ids are never negative where they reach the quorum (`QuorumConfig` is checked).
pub fn node_id(id: BrokerId) -> NodeId {
    u64::try_from(id.0).unwrap_or(u64::MAX)
}

pub fn broker_id(id: NodeId) -> BrokerId {
    BrokerId(i32::try_from(id).unwrap_or(-1))
}
