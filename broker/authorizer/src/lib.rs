//! Who may do what: Kafka's access control lists with the rules of its `StandardAuthorizer`.
//!
//! - [`Acl`]: one rule, in Kafka's terms and codes. [`AclFilter`] says which rules are meant.
//! - [`AclSet`]: all rules of a cluster, with an index by resource. A clone costs O(1).
//! - [`Authorizer`]: what the brokers' files say (super users, and what holds where no rule is). It
//!   decides for a [`Requester`] from both.
//! - [`Sampler`]: which denials are worth a line in the log.
//!
//! A pure core: no clock, socket or file. A decision costs a few look-ups by hash, whatever the
//! number of rules: one for the literal name, one for `*`, one per length of prefix in use.

mod acl;
mod decide;
mod filter;
mod host;
mod index;
mod sampler;
mod set;

pub use acl::{
    Acl, AclError, CLUSTER_NAME, Operation, PatternType, Permission, ResourceType, WILDCARD,
};
pub use decide::{Authorizer, Requester, SuperUsersError, Verdict};
pub use filter::{AclFilter, PatternFilter};
pub use host::{HostError, host_text};
pub use sampler::Sampler;
pub use set::{AclId, AclSet, AclSetError};
