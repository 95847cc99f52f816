//! The metadata quorum: one Raft group over all brokers, whose log is the cluster's metadata.
//!
//! The configured voters elect the active controller; every other broker is an observer (openraft's
//! `learner`), so metadata reaches it by Raft itself. The state machine is [`metadata::Image`]; an
//! entry is a batch of [`metadata::MetadataRecord`]; the metadata offset is the Raft log index and
//! the controller epoch is the Raft term. This is the only crate that names openraft.
//!
//! Everything runs on one thread, `quorum`, with its own runtime, and one thread that writes and
//! syncs the log, `quorum-log`, so that a busy data plane does not delay heartbeats.
//!
//! The files in `__cluster_metadata.quorum` are this crate's own, not Kafka's KRaft log: Kafka's
//! offline tools do not read them.

mod admission;
mod api;
mod config;
mod core;
mod edge;
mod fatal;
mod formats;
mod incoming;
mod leadership;
mod log;
mod machine;
mod members;
mod messages;
mod network;
mod pace;
mod persist;
mod place;
mod quorum;
mod rpc;
pub mod secret;
mod service;
mod session;
mod snapshots;
mod status;
mod suspicion;
mod types;
mod waiting;

pub use api::{
    BoxFuture, CallError, ControllerHandler, Leadership, MemberError, ProposeError, QuorumStatus,
    ReplicaStatus, Session, SessionEvent, StartError,
};
pub use config::{NodeAddress, ParseVoterError, QuorumConfig, Timing, Voter};
pub use formats::Unreadable;
pub use place::settle as settle_dir;
pub use quorum::{Quorum, raise_priority};
