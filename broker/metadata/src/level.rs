//! The feature `barnabas.version`: which kinds of records may be written. A kind gets the level of
//! the release that brings it, and is written only once the whole cluster agreed on that level, so
//! that no broker meets a record that it cannot read. Kafka's own features, which clients look at,
//! say nothing of this project's records.
//!
//! A new kind: add it to [`MetadataRecord`] and to the table here, with the next level if this
//! release is the first of it. `Image::apply` refuses a kind above the finalized level.

use crate::image::Image;
use crate::record::MetadataRecord;

/// The feature's name.
pub const BARNABAS_VERSION: &str = "barnabas.version";
/// The highest level that this release knows. Level 0 stands for releases that had none.
pub const LEVEL_MAX: i16 = 2;
/// From this level on there are rules of access.
pub(crate) const ACL_LEVEL: i16 = 2;
/// From this level on there are credentials of SCRAM.
pub(crate) const SCRAM_LEVEL: i16 = 2;
/// From this level on there are quotas of clients.
pub(crate) const QUOTA_LEVEL: i16 = 2;

/// The table of kinds: each one's stored name is that of its variant; the level allows it.
macro_rules! kinds {
    ($($kind:ident: $level:literal,)*) => {
        const KINDS: &[(&str, i16)] = &[$((stringify!($kind), $level)),*];

        impl MetadataRecord {
            /// The kind's stored name.
            pub fn kind(&self) -> &'static str {
                match self {
                    $(MetadataRecord::$kind(_) => stringify!($kind),)*
                }
            }

            /// The level of `barnabas.version` from which on the kind may be written.
            pub fn level(&self) -> i16 {
                match self {
                    $(MetadataRecord::$kind(_) => $level,)*
                }
            }
        }
    };
}

kinds! {
    RegisterBroker: 0,
    UnregisterBroker: 0,
    FenceBroker: 0,
    UnfenceBroker: 0,
    BrokerShutdown: 0,
    Topic: 0,
    Partition: 0,
    PartitionChange: 0,
    RemoveTopic: 0,
    Config: 0,
    ProducerIds: 0,
    FeatureLevel: 0,
    Controller: 0,
    BrokerLevel: 1,
    AccessControlEntry: 2,
    RemoveAccessControlEntry: 2,
    UserScramCredential: 2,
    RemoveUserScramCredential: 2,
    ClientQuota: 2,
}

/// Whether this release can read the kind.
pub(crate) fn is_known(kind: &str) -> bool {
    KINDS.iter().any(|(known, _)| *known == kind)
}

impl Image {
    /// The finalized level of `barnabas.version`.
    pub fn level(&self) -> i16 {
        self.feature_level(BARNABAS_VERSION)
    }

    /// The highest level that a record of this metadata needed: below it nobody can read it all.
    pub fn written_level(&self) -> i16 {
        self.written_level
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{BrokerLevelRecord, BrokerStateRecord};

    #[test]
    fn no_kind_is_above_what_this_release_knows() {
        assert!(KINDS.iter().all(|(_, level)| (0..=LEVEL_MAX).contains(level)));
    }

    #[test]
    fn requests_need_the_levels_of_what_they_write() {
        let of = |kind: &str| KINDS.iter().find(|(known, _)| *known == kind).map(|(_, l)| *l);
        assert_eq!(of("AccessControlEntry"), Some(ACL_LEVEL));
        assert_eq!(of("UserScramCredential"), Some(SCRAM_LEVEL));
        assert_eq!(of("ClientQuota"), Some(QUOTA_LEVEL));
    }

    #[test]
    fn a_kind_is_written_from_its_level_on() {
        let (broker_id, broker_epoch) = (base::BrokerId(1), 7);
        let old = MetadataRecord::FenceBroker(BrokerStateRecord { broker_id, broker_epoch });
        assert_eq!(old.level(), 0);
        let supports = LEVEL_MAX;
        let new =
            MetadataRecord::BrokerLevel(BrokerLevelRecord { broker_id, broker_epoch, supports });
        assert_eq!(new.level(), 1);
    }
}
