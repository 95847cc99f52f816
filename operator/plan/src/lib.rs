//! What the operator decides, without doing it: no Kubernetes client, no socket, no clock, no
//! chance. Three parts:
//!
//! - [`next_step`]: from what a pass saw of a cluster ([`Observed`]) to a [`Plan`]: how many pods
//!   there are to be, at most one step, and what the user is told;
//! - [`moves`]: which replicas go where when brokers are drained or join;
//! - [`topics`]: from `Topic` resources and what Kafka has to requests and conditions.
//!
//! Rules that hold for every plan, and that the property tests check against a model cluster:
//! - at most one step per pass, and none that disrupts while something it depends on is unknown;
//! - no step takes a partition below its minimum ISR, or the quorum below its majority;
//! - a broker is removed only when it hosts nothing and does not vote;
//! - repeated passes come to rest, in what is desired or in a refusal that says why.

mod cluster;
mod decision;
mod fleet;
pub mod moves;
mod observed;
mod owner;
pub mod topics;

pub use cluster::next_step;
pub use decision::{
    BrokerState, BrokerStatus, Lost, LostWhy, Need, Phase, Plan, Progress, Refusal, RestartReason,
    Step,
};
pub use fleet::{Fleet, Pool, PoolName, SetView};
pub use observed::{
    AllowUnavailable, BrokerRisk, BrokerSettings, BrokerView, ClaimView, ClusterView, Desired,
    LevelView, Missing, MoveView, Observed, ObserverView, PartitionView, PodPhase, PodView,
    QuorumView, RackRisk, Rebalance, Replacement, Rolling, VOTER_LOST_MS, VoterView,
};

pub use owner::{Me, Standing, standing};

/// How often a pass fetches what a plan needs and plans again.
pub const ROUNDS_MAX: usize = 3;
