//! Quotas of clients: whom one is for, and what it limits.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

pub const PRODUCER_BYTE_RATE: &str = "producer_byte_rate";
pub const CONSUMER_BYTE_RATE: &str = "consumer_byte_rate";
/// Time of the network threads; 100 is one of them.
pub const REQUEST_PERCENTAGE: &str = "request_percentage";
/// Partitions that are created and deleted, per second.
pub const CONTROLLER_MUTATION_RATE: &str = "controller_mutation_rate";
pub const CONNECTION_CREATION_RATE: &str = "connection_creation_rate";

/// The limits of one entity by their keys.
pub type QuotaValues = Arc<BTreeMap<Arc<str>, f64>>;

/// One part of an entity: a name, or whoever has no quota by name.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub enum QuotaName {
    Default,
    Named(Arc<str>),
}

impl QuotaName {
    /// Null on the wire is the default.
    pub fn of(name: Option<Arc<str>>) -> QuotaName {
        name.map_or(QuotaName::Default, QuotaName::Named)
    }

    pub fn name(&self) -> Option<&Arc<str>> {
        match self {
            QuotaName::Default => None,
            QuotaName::Named(name) => Some(name),
        }
    }
}

/// Whom a quota is for: a user, a client id, both together, or an address.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize)]
pub struct QuotaEntity {
    #[serde(default)]
    pub user: Option<QuotaName>,
    #[serde(default)]
    pub client_id: Option<QuotaName>,
    #[serde(default)]
    pub ip: Option<QuotaName>,
}

impl QuotaEntity {
    /// The parts by Kafka's names of their types.
    pub fn parts(&self) -> impl Iterator<Item = (&'static str, &QuotaName)> {
        let parts = [("user", &self.user), ("client-id", &self.client_id), ("ip", &self.ip)];
        parts.into_iter().filter_map(|(kind, part)| Some((kind, part.as_ref()?)))
    }
}

/// The quota that counts for somebody.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct QuotaLimit {
    pub limit: f64,
    /// Each user has it for itself; else all users share it.
    pub by_user: bool,
    /// Each client id has it for itself.
    pub by_client_id: bool,
}
