//! What one pass decides: how many pods there are to be, at most one step that disrupts anything,
//! what to ask the brokers before deciding more, and what the user is told.

use std::collections::BTreeMap;

use base::{BrokerId, TopicPartition};
pub use crd::Phase;

use crate::fleet::PoolName;
use crate::moves::{Move, ThrottleChange};

/// A decision. The caller first fetches `needs`, if there are any, and plans again in the same
/// pass (at most [`crate::ROUNDS_MAX`] times); then it applies objects with `sizes`, then takes
/// `step`, then writes the status.
#[derive(Clone, PartialEq, Debug)]
pub struct Plan {
    /// `spec.replicas` of the pools' StatefulSets once `step` is taken: never taken from the
    /// user's spec.
    pub sizes: BTreeMap<PoolName, i32>,
    pub step: Step,
    /// What has to be observed before more can be decided; `step` is then [`Step::Nothing`].
    pub needs: Vec<Need>,
    pub phase: Phase,
    /// What is going on and what it waits for; for people.
    pub message: String,
    /// Something the user asked for and that is not done, with the reason; all else goes on.
    pub refused: Option<Refusal>,
    /// A pod that will not start by itself on the newest revision, or another lasting fault.
    pub degraded: Option<String>,
    /// Brokers that do not come back by themselves, and are not replaced yet.
    pub lost: Vec<Lost>,
    /// Partitions that a restart waits for: not in sync on some broker, or below their minimum
    /// without the next.
    pub blocking: u64,
    /// Partitions on the move and left to move; `None` where no move is wanted.
    pub rebalance: Option<Progress>,
    /// The status of the condition `Rebalancing`; the next pass reads it back as
    /// [`crate::Observed::rebalancing`].
    pub rebalancing: bool,
    /// The state of every broker that is wanted or exists.
    pub brokers: BTreeMap<BrokerId, BrokerStatus>,
    /// When to look again without a watch event; `None` where there is nothing to wait for but
    /// watches and the resync.
    pub requeue_ms: Option<u64>,
}

impl Plan {
    /// How many pods there are to be in all.
    pub fn size(&self) -> i32 {
        self.sizes.values().sum()
    }
}

/// One step. All but those of [`Step::is_disruptive`] can be taken back.
#[derive(Clone, PartialEq, Debug)]
pub enum Step {
    Nothing,
    /// Delete these pods (precondition: their uid); the StatefulSet makes new ones. More than one
    /// only where they are of one rack and that is proven safe.
    Restart {
        brokers: Vec<BrokerId>,
        reason: RestartReason,
    },
    /// The size of its pool is one less than the set has: the last broker hosts nothing and does
    /// not vote.
    Shrink {
        broker: BrokerId,
    },
    /// No new replicas are placed on these brokers: set `cordoned.log.dirs=*` on each.
    Cordon(Vec<BrokerId>),
    Uncordon(Vec<BrokerId>),
    /// Throttle first, then move.
    StartMoves {
        moves: Vec<Move>,
        throttle: Option<ThrottleChange>,
    },
    CancelMoves(Vec<TopicPartition>),
    ClearThrottle(ThrottleChange),
    AddVoter(BrokerId),
    RemoveVoter(BrokerId),
    /// The broker's pod is gone and it hosts nothing.
    Unregister(BrokerId),
    /// The broker is unregistered.
    DeleteClaim(BrokerId),
    /// The broker does not come back: its pod is deleted without waiting for its node, and its
    /// volume claim before it where `volume`.
    Replace {
        broker: BrokerId,
        volume: bool,
    },
    /// Preferred leaders of these partitions.
    ElectPreferred(Vec<TopicPartition>),
    /// `barnabas.version` of the cluster, after a roll to a release that knows more records.
    RaiseLevel(i16),
}

impl Step {
    /// Who votes only since it, or no more.
    pub fn changed_voter(&self) -> Option<BrokerId> {
        match self {
            Step::AddVoter(id) | Step::RemoveVoter(id) => Some(*id),
            _ => None,
        }
    }

    /// It ends a process, a membership or data. A pass takes at most one of these.
    pub fn is_disruptive(&self) -> bool {
        match self {
            Step::Restart { .. }
            | Step::Shrink { .. }
            | Step::RemoveVoter(_)
            | Step::AddVoter(_)
            | Step::Unregister(_)
            | Step::Replace { .. }
            | Step::DeleteClaim(_) => true,
            Step::Nothing
            | Step::Cordon(_)
            | Step::Uncordon(_)
            | Step::StartMoves { .. }
            | Step::CancelMoves(_)
            | Step::ClearThrottle(_)
            | Step::ElectPreferred(_)
            | Step::RaiseLevel(_) => false,
        }
    }

    /// CamelCase, for `status.step.name` and the event's reason.
    pub fn name(&self) -> &'static str {
        match self {
            Step::Nothing => "Nothing",
            Step::Restart { .. } => "RestartBroker",
            Step::Shrink { .. } => "RemoveBroker",
            Step::Cordon(_) => "CordonBroker",
            Step::Uncordon(_) => "UncordonBroker",
            Step::StartMoves { .. } => "MovePartitions",
            Step::CancelMoves(_) => "CancelMoves",
            Step::ClearThrottle(_) => "ClearThrottle",
            Step::AddVoter(_) => "AddVoter",
            Step::RemoveVoter(_) => "RemoveVoter",
            Step::Unregister(_) => "UnregisterBroker",
            Step::DeleteClaim(_) => "DeleteVolumeClaim",
            Step::Replace { .. } => "ReplaceBroker",
            Step::ElectPreferred(_) => "ElectPreferredLeaders",
            Step::RaiseLevel(_) => "RaiseLevel",
        }
    }
}

/// Why a pod is replaced.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RestartReason {
    /// It will not start, and there is a newer revision.
    Stuck,
    Outdated,
    Asked,
    FileSystemResize,
}

impl RestartReason {
    pub fn text(self) -> &'static str {
        match self {
            RestartReason::Stuck => "it does not start, and its spec has changed since",
            RestartReason::Outdated => "its spec has changed",
            RestartReason::Asked => "it is marked for restart",
            RestartReason::FileSystemResize => "its file system grows at the next start",
        }
    }
}

/// What has to be observed before the planner can decide.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Need {
    /// `Observed::partitions`.
    Partitions,
    /// `Observed::throttled_topics`.
    ThrottledTopics,
}

/// What is not done, and why.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Refusal {
    /// CamelCase, for a condition.
    pub reason: &'static str,
    pub message: String,
}

/// A broker that does not come back by itself: its node is lost, or its volume's.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Lost {
    pub broker: BrokerId,
    pub why: LostWhy,
}

/// Why a lost broker is not replaced.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum LostWhy {
    /// The user did not say after what time, and did not ask for it.
    TimeNotSet,
    /// It may come back until the time is up.
    NotYet,
    Waits(String),
    /// What would be lost with it. `given_up`: some of it would be, where the user asks for that.
    LastCopy {
        what: String,
        given_up: bool,
    },
}

/// How far a drain or a rebalance is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Progress {
    pub in_flight: usize,
    /// Replicas that still have to leave a broker; 0 where that is not known.
    pub remaining: usize,
}

/// One broker for the status.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BrokerStatus {
    pub state: BrokerState,
    pub message: String,
}

/// One word for `status.brokers[].state`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum BrokerState {
    Running,
    Creating,
    Starting,
    CatchingUp,
    Restarting,
    Outdated,
    Draining,
    Removing,
    Stuck,
    Missing,
    Unknown,
}

impl BrokerState {
    pub fn name(self) -> &'static str {
        match self {
            BrokerState::Running => "Running",
            BrokerState::Creating => "Creating",
            BrokerState::Starting => "Starting",
            BrokerState::CatchingUp => "CatchingUp",
            BrokerState::Restarting => "Restarting",
            BrokerState::Outdated => "Outdated",
            BrokerState::Draining => "Draining",
            BrokerState::Removing => "Removing",
            BrokerState::Stuck => "Stuck",
            BrokerState::Missing => "Missing",
            BrokerState::Unknown => "Unknown",
        }
    }
}
