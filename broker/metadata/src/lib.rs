//! The cluster's metadata as one replicated state machine, without any IO.
//!
//! Three parts, all pure:
//!
//! - [`Image`]: the state, built by applying [`MetadataRecord`]s in log order. A clone costs O(1)
//!   and shares structure, so that every reader keeps an immutable version.
//! - [`Controller`]: what only the active controller runs. A [`ControllerRequest`] is validated
//!   against an image and becomes records plus a [`ControllerResponse`]; nothing changes before
//!   the records are committed and applied. Broker liveness ([`Liveness`]) is part of it.
//! - [`config`]: the typed registry of topic configs and broker keys, and their resolution.
//! - [`risk`]: what would happen if brokers stopped now.
//!
//! Time, randomness and the log offset are arguments. The order of rules is Kafka's (KRaft), the
//! names too.

mod call;
mod codec;
pub mod config;
mod config_op;
mod controller;
mod delta;
mod entropy;
mod image;
mod level;
mod liveness;
mod placement;
pub mod quota;
mod record;
mod request;
pub mod risk;
mod scram;
mod voter_change;

pub use call::ControllerCall;
pub use codec::{
    DecodeError, RECORDS_BYTES_MAX, decode_records, decode_request, decode_response,
    encode_records, encode_request, encode_response,
};
pub use controller::{
    Caller, Controller, ControllerSettings, Outcome, SUPPORTED_FEATURES, SupportedFeature,
};
pub use delta::{Changes, changes_between};
pub use entropy::Entropy;
pub use image::{ApplyError, Broker, ConfigMap, Image, Partition, Topic};
pub use level::{BARNABAS_VERSION, LEVEL_MAX};
pub use liveness::{Expired, Liveness, LivenessSettings, SessionId, heartbeat_interval_ms_max};
pub use placement::{PlacementBroker, PlacementError, place};
pub use record::{
    AccessControlEntryRecord, BrokerLevelRecord, BrokerStateRecord, ClientQuotaRecord,
    ConfigRecord, ConfigResource, ControllerRecord, Endpoint, FeatureLevelRecord, LeaderChange,
    LeaderRecoveryState, MetadataRecord, PartitionChangeRecord, PartitionRecord, ProducerIdsRecord,
    RegisterBrokerRecord, RemoveAccessControlEntryRecord, RemoveTopicRecord,
    RemoveUserScramCredentialRecord, TopicRecord, UnregisterBrokerRecord,
    UserScramCredentialRecord,
};
pub use request::*;
pub use scram::{ScramCredential, ScramCredentials, ScramMechanism, UserCredentials};
pub use voter_change::VoterChange;
