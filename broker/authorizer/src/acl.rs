//! One rule in Kafka's terms: who (principal and host) may or may not do what (operation) with
//! which resources (type and pattern). Names and codes are those of `AclBinding`.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::host::{HostError, HostPattern};

/// Every resource of a type, every principal's name, every host.
pub const WILDCARD: &str = "*";
/// The only resource of the type `CLUSTER`.
pub const CLUSTER_NAME: &str = "kafka-cluster";

macro_rules! coded {
    ($(#[$doc:meta])* $Enum:ident { $($name:ident = $code:literal $text:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
        #[repr(i8)]
        pub enum $Enum { $($name = $code,)* }

        impl $Enum {
            pub const ALL_VALUES: &[$Enum] = &[$($Enum::$name,)*];

            /// Kafka's number.
            pub const fn code(self) -> i8 {
                self as i8
            }

            /// `None` for codes that no rule may have: `UNKNOWN`, `ANY`, and those of later Kafkas.
            pub fn from_code(code: i8) -> Option<$Enum> {
                match code { $($code => Some($Enum::$name),)* _ => None }
            }

            /// Kafka's name.
            pub fn name(self) -> &'static str {
                match self { $($Enum::$name => $text,)* }
            }
        }
    };
}

coded! {
    /// What a rule is about.
    ResourceType {
        Topic = 2 "TOPIC",
        Group = 3 "GROUP",
        Cluster = 4 "CLUSTER",
        TransactionalId = 5 "TRANSACTIONAL_ID",
        DelegationToken = 6 "DELEGATION_TOKEN",
        User = 7 "USER",
    }
}

coded! {
    /// How the resource's name of a rule is meant.
    PatternType {
        Literal = 3 "LITERAL",
        Prefixed = 4 "PREFIXED",
    }
}

coded! {
    /// What somebody wants to do.
    Operation {
        All = 2 "ALL",
        Read = 3 "READ",
        Write = 4 "WRITE",
        Create = 5 "CREATE",
        Delete = 6 "DELETE",
        Alter = 7 "ALTER",
        Describe = 8 "DESCRIBE",
        ClusterAction = 9 "CLUSTER_ACTION",
        DescribeConfigs = 10 "DESCRIBE_CONFIGS",
        AlterConfigs = 11 "ALTER_CONFIGS",
        IdempotentWrite = 12 "IDEMPOTENT_WRITE",
        CreateTokens = 13 "CREATE_TOKENS",
        DescribeTokens = 14 "DESCRIBE_TOKENS",
        TwoPhaseCommit = 15 "TWO_PHASE_COMMIT",
    }
}

coded! {
    Permission {
        Deny = 2 "DENY",
        Allow = 3 "ALLOW",
    }
}

impl Operation {
    /// The operation in a set of them.
    pub(crate) const fn bit(self) -> u16 {
        1 << self.code()
    }

    /// Operations of which one suffices: whoever may read, may describe.
    pub(crate) const fn allowed_by(self) -> u16 {
        use Operation::*;
        let implied = match self {
            Describe => Read.bit() | Write.bit() | Delete.bit() | Alter.bit(),
            DescribeConfigs => AlterConfigs.bit(),
            _ => 0,
        };
        self.bit() | All.bit() | implied
    }

    /// Operations of which one denied denies this one. Nothing is implied here.
    pub(crate) const fn denied_by(self) -> u16 {
        self.bit() | Operation::All.bit()
    }
}

impl ResourceType {
    /// What may be done with resources of the type, for answers that tell what a client may do
    /// (`AclEntry.supportedOperations`).
    pub fn operations(self) -> &'static [Operation] {
        use Operation::*;
        match self {
            ResourceType::Topic => {
                &[Read, Write, Create, Describe, Delete, Alter, DescribeConfigs, AlterConfigs]
            }
            ResourceType::Group => &[Read, Describe, Delete, DescribeConfigs, AlterConfigs],
            ResourceType::Cluster => &[
                Create,
                ClusterAction,
                DescribeConfigs,
                AlterConfigs,
                IdempotentWrite,
                Alter,
                Describe,
            ],
            ResourceType::TransactionalId => &[Describe, Write, TwoPhaseCommit],
            ResourceType::DelegationToken => &[Describe],
            ResourceType::User => &[CreateTokens, DescribeTokens],
        }
    }
}

/// One rule.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct Acl {
    pub resource_type: ResourceType,
    pub resource_name: Arc<str>,
    pub pattern_type: PatternType,
    /// `User:alice`, or `User:*` for everybody.
    pub principal: Arc<str>,
    /// An address as text, a range in CIDR notation, or `*`.
    pub host: Arc<str>,
    pub operation: Operation,
    pub permission_type: Permission,
}

/// Why a rule is none.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum AclError {
    #[error("The only valid name for the CLUSTER resource is {CLUSTER_NAME}")]
    ClusterName,
    #[error("Invalid empty resource name")]
    EmptyName,
    #[error(
        "Could not parse principal from `{0}` (no colon is present separating the principal type \
         from the principal name)"
    )]
    Principal(Arc<str>),
    #[error("Host pattern cannot be null or empty")]
    EmptyHost,
    #[error("Invalid CIDR notation '{0}': {1}")]
    Host(Arc<str>, HostError),
}

impl Acl {
    /// Whether Kafka takes it for a rule.
    pub fn validate(&self) -> Result<(), AclError> {
        if self.resource_type == ResourceType::Cluster && *self.resource_name != *CLUSTER_NAME {
            return Err(AclError::ClusterName);
        }
        if self.resource_name.is_empty() {
            return Err(AclError::EmptyName);
        }
        if !self.principal.contains(':') {
            return Err(AclError::Principal(self.principal.clone()));
        }
        if self.host.is_empty() {
            return Err(AclError::EmptyHost);
        }
        let host = HostPattern::parse(&self.host);
        host.map(|_| ()).map_err(|error| AclError::Host(self.host.clone(), error))
    }

    /// Whether the host is a range: a kind of host that Kafka has since 4.4.
    pub fn has_range(&self) -> bool {
        self.host.contains('/')
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_kafkas_and_the_others_are_no_rules() {
        for code in 0..=20 {
            if let Some(operation) = Operation::from_code(code) {
                assert_eq!(operation.code(), code);
            }
        }
        let known = |from: fn(i8) -> bool| (-1..=20).filter(|code| from(*code)).collect::<Vec<_>>();
        assert_eq!(known(|c| Operation::from_code(c).is_some()), (2..=15).collect::<Vec<_>>());
        assert_eq!(known(|c| ResourceType::from_code(c).is_some()), (2..=7).collect::<Vec<_>>());
        assert_eq!(known(|c| PatternType::from_code(c).is_some()), [3, 4]);
        assert_eq!(known(|c| Permission::from_code(c).is_some()), [2, 3]);
        assert_eq!(Operation::TwoPhaseCommit.name(), "TWO_PHASE_COMMIT");
    }

    #[test]
    fn what_is_no_rule_is_told_as_kafka_tells_it() {
        let acl = |resource_type, name: &str, principal: &str, host: &str| {
            let acl = Acl {
                resource_type,
                resource_name: name.into(),
                pattern_type: PatternType::Literal,
                principal: principal.into(),
                host: host.into(),
                operation: Operation::Read,
                permission_type: Permission::Allow,
            };
            acl.validate().map_err(|e| e.to_string()).err().unwrap_or_default()
        };
        let topic = ResourceType::Topic;
        assert_eq!(acl(topic, "t", "User:a", "*"), "");
        assert_eq!(acl(topic, "t", "User:a", "no address"), "", "any text is a host");
        assert_eq!(acl(topic, "", "User:a", "*"), "Invalid empty resource name");
        assert!(
            acl(topic, "t", "alice", "*").starts_with("Could not parse principal from `alice`")
        );
        assert_eq!(acl(topic, "t", "User:a", ""), "Host pattern cannot be null or empty");
        assert_eq!(
            acl(topic, "t", "User:a", "10.0.0.0/33"),
            "Invalid CIDR notation '10.0.0.0/33': Value [33] not in range [0,32]"
        );
        assert_eq!(
            acl(ResourceType::Cluster, "c", "User:a", "*"),
            "The only valid name for the CLUSTER resource is kafka-cluster"
        );
    }
}
