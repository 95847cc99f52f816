//! What is written to the disk of the quorum and to its connections: this project's own types.
//!
//! openraft's types are converted in `edge.rs` and have no encoding at all (its `serde` feature is
//! off), so that no change of it can change a file or a message. The layout is MessagePack with
//! named fields, inside frames that have magic, version and checksum:
//!
//! - Vote, purge mark, snapshot and marks: `log/atomic_file.rs` around [`Ballot`] and the like.
//! - The log: `log/segment.rs`, a checksum per entry, around [`LogEntry`].
//! - The committed mark: length and checksum (`log/writer.rs`) around [`Position`].
//! - Messages: handshake and frames (`rpc/frame.rs`) around what `messages.rs` has.
//!
//! The layout is the one that brokers up to commit fcb66bf wrote, down to the last byte: they
//! derived it from openraft's types. So their files need no other reader, and a cluster can be
//! rolled from them with old and new brokers side by side. `formats_tests.rs` compares with bytes
//! that the old code wrote.
//!
//! To change it: a new optional field needs `#[serde(default)]` and a reason why skipping it is
//! right; anything else is a new version of the frame, which an older broker refuses by name
//! ([`Unreadable`]), and a feature level before which it is not written.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io;

use serde::{Deserialize, Serialize};

use crate::config::NodeAddress;
use crate::types::{NodeId, Records};

/// Where an entry is in the log: its index, and the term in which a leader proposed it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Position {
    #[serde(rename = "leader_id")]
    pub term: u64,
    pub index: u64,
}

/// For whom a node voted, and in which term.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Candidate {
    pub term: u64,
    #[serde(rename = "voted_for")]
    pub node: NodeId,
}

/// A vote; `committed` once a quorum granted it, which makes the candidate the leader.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Ballot {
    #[serde(rename = "leader_id")]
    pub candidate: Candidate,
    pub committed: bool,
}

/// Who belongs to the quorum. Two sets of voters stand for a change that is under way.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Members {
    #[serde(rename = "configs")]
    pub voters: Vec<BTreeSet<NodeId>>,
    pub nodes: BTreeMap<NodeId, NodeAddress>,
}

/// The members, and the entry that made them so.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct MembersAt {
    #[serde(rename = "log_id")]
    pub at: Option<Position>,
    #[serde(rename = "membership")]
    pub members: Members,
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub enum Body {
    /// A leader's first entry.
    Blank,
    /// Metadata records.
    #[serde(rename = "Normal")]
    Records(Records),
    #[serde(rename = "Membership")]
    Members(Members),
}

/// One entry of the log.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct LogEntry {
    #[serde(rename = "log_id")]
    pub at: Position,
    #[serde(rename = "payload")]
    pub body: Body,
}

/// What a snapshot stands for; the image follows it in the file.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct SnapshotHead {
    #[serde(rename = "last_log_id")]
    pub last: Option<Position>,
    #[serde(rename = "last_membership")]
    pub members: MembersAt,
}

/// Bytes of a format, of a version of it, or of a kind of record that this release does not know.
/// They are whole (their checksum is right): a newer release wrote them and can read them.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{what} was written by a newer release: {why}; upgrade this broker")]
pub struct Unreadable {
    /// The file, or the entry of the metadata log.
    pub what: String,
    pub why: String,
}

impl Unreadable {
    pub fn new(what: impl fmt::Display, why: impl fmt::Display) -> Unreadable {
        Unreadable { what: what.to_string(), why: why.to_string() }
    }

    /// The reason inside an error of a reader.
    pub fn inside(error: &io::Error) -> Option<&Unreadable> {
        error.get_ref()?.downcast_ref()
    }
}

impl From<Unreadable> for io::Error {
    fn from(unreadable: Unreadable) -> io::Error {
        io::Error::new(io::ErrorKind::InvalidData, unreadable)
    }
}

/// Fields are written by name, so that releases that know more or fewer of them understand each
/// other.
pub fn encode<T: Serialize>(value: &T) -> Result<Vec<u8>, io::Error> {
    rmp_serde::to_vec_named(value).map_err(io::Error::other)
}

pub fn decode<T: serde::de::DeserializeOwned>(bytes: &[u8]) -> Result<T, io::Error> {
    rmp_serde::from_slice(bytes).map_err(|e| io::Error::new(io::ErrorKind::InvalidData, e))
}

#[cfg(test)]
#[path = "formats_tests.rs"]
mod tests;
