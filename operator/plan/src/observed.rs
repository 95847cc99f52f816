//! What one pass saw of a cluster. An `Option` that is `None` was not observed: the planner then
//! does nothing that could harm, and says so. Nothing here is remembered from an earlier pass but
//! what the API server keeps.

use std::collections::BTreeMap;

use base::{BrokerId, TopicPartition};

use crate::fleet::Fleet;

/// Everything that one decision stands on.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Observed {
    /// The wall clock in milliseconds; compared with what says since when something is so.
    pub now_ms: i64,
    pub desired: Desired,
    /// Which brokers there are and are to be.
    pub fleet: Fleet,
    /// Pods of the sets by ordinal, which is the broker's id.
    pub pods: BTreeMap<BrokerId, PodView>,
    /// Brokers that had no pod in the last pass (`status.brokers`), and since when.
    pub missing_since: BTreeMap<BrokerId, i64>,
    /// Volume claims of the sets by ordinal.
    pub claims: BTreeMap<BrokerId, ClaimView>,
    /// What the brokers say; `None` where none of them answered at all. One that answers but knows
    /// of no leader of the quorum is an answer: `quorum` is then `None`, or has no leader.
    pub cluster: Option<ClusterView>,
    /// Why `cluster` is `None`, for the user.
    pub unreachable: Option<String>,
    /// Every partition of the cluster; fetched when the plan asks for [`Need::Partitions`].
    ///
    /// [`Need::Partitions`]: crate::Need::Partitions
    pub partitions: Option<Vec<PartitionView>>,
    /// Topics that have `*.replication.throttled.replicas`; fetched when the plan asks for
    /// [`Need::ThrottledTopics`].
    ///
    /// [`Need::ThrottledTopics`]: crate::Need::ThrottledTopics
    pub throttled_topics: Option<Vec<String>>,
    /// Whether the status said `Rebalancing` when this pass began: a rebalance that has begun goes
    /// on until the counts are even, a new one begins only when they are far from it.
    pub rebalancing: bool,
    /// Who voted when that was last known (`status.voters`): what there is to go by while nobody
    /// leads the quorum.
    pub last_voters: Vec<BrokerId>,
    /// Who was being added to them, or removed, when that was written (`status.changingVoter`):
    /// nobody may have seen yet whether it votes.
    pub changing_voter: Option<BrokerId>,
}

impl Observed {
    /// Takes what was fetched for [`Need::Partitions`], and what it tells of moves: the list that
    /// the brokers give where there are many does not have their ISR.
    ///
    /// [`Need::Partitions`]: crate::Need::Partitions
    pub fn learn(&mut self, partitions: Vec<PartitionView>) {
        let moves = self.cluster.as_mut().and_then(|cluster| cluster.moves.as_mut());
        let moves = moves.into_iter().flatten().filter(|m| m.isr.is_empty());
        let mut vague: BTreeMap<(&str, i32), &mut Vec<BrokerId>> =
            moves.map(|m| ((&*m.partition.topic, m.partition.partition), &mut m.isr)).collect();
        for p in &partitions {
            if let Some(isr) = vague.get_mut(&(p.topic.as_str(), p.partition)) {
                isr.clone_from(&p.isr);
            }
        }
        self.partitions = Some(partitions);
    }
}

/// Longer than a node takes to be repaired or replaced by itself.
pub const VOTER_LOST_MS: i64 = 900_000;

/// What the user wants, validated.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Desired {
    /// 1, 3 or 5, and not more than there are brokers that may vote.
    pub voters: i32,
    pub rolling: Rolling,
    pub rebalance: Rebalance,
    pub paused: bool,
    /// A voter that has been down for so long is replaced by another broker, where there is one.
    pub voter_lost_ms: i64,
    /// A broker whose node is lost for so long gets another pod, and another volume where it needs
    /// one; never where `None`.
    pub node_loss_ms: Option<i64>,
    /// Whether the claim of a removed broker is deleted.
    pub delete_claims: bool,
}

impl Default for Desired {
    fn default() -> Desired {
        Desired {
            voters: 1,
            rolling: Rolling::default(),
            rebalance: Rebalance::default(),
            paused: false,
            voter_lost_ms: VOTER_LOST_MS,
            node_loss_ms: None,
            delete_claims: false,
        }
    }
}

/// How brokers may be restarted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Rolling {
    /// Brokers of one rack that may be down together, where that is proven safe; `None` where the
    /// user sets no limit.
    pub max_unavailable: Option<i32>,
    /// Without a limit all brokers of one rack may be down together, not only one.
    pub same_rack_parallel: bool,
    /// Whether partitions that no order of restarts can keep available hold a restart up.
    pub allow_unavailable: AllowUnavailable,
}

impl Default for Rolling {
    fn default() -> Rolling {
        Rolling {
            max_unavailable: None,
            same_rack_parallel: false,
            allow_unavailable: AllowUnavailable::Proceed,
        }
    }
}

/// What to do about partitions with one replica, or as many as `min.insync.replicas`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AllowUnavailable {
    Proceed,
    Wait,
}

/// How partitions are moved.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Rebalance {
    /// Partitions move onto new brokers without being asked to.
    pub auto: bool,
    /// Bytes per second and broker that moves may take; `None` is unlimited.
    pub throttle: Option<i64>,
    /// Moves in flight that one broker may take part in.
    pub moves_per_broker: i32,
}

impl Default for Rebalance {
    fn default() -> Rebalance {
        Rebalance { auto: true, throttle: None, moves_per_broker: 5 }
    }
}

/// A pod as it is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PodView {
    pub uid: String,
    /// Its revision is not the set's newest.
    pub outdated: bool,
    pub phase: PodPhase,
    pub ready: bool,
    /// Since when `ready` is what it is; the pod's creation where that is not known.
    pub since_ms: i64,
    /// `metadata.creationTimestamp`.
    pub created_ms: i64,
    /// The user asked for this pod to be replaced.
    pub restart_marked: bool,
    /// The user asked for a broker that is down to be replaced, its volume too.
    pub replace: Option<Replacement>,
    pub node: Option<String>,
    /// The node cannot be reached, or is gone.
    pub node_lost: bool,
    /// Since when the node answers; the pod's creation where that is not known. What is known of
    /// the pod is older than the silence before.
    pub node_since_ms: i64,
    /// Its process runs, but has ended again and again, and has not been ready since: it may serve
    /// all the same.
    pub crashing: bool,
    /// What Kubernetes says of a pod that does not start or crashes, for the user.
    pub problem: Option<String>,
}

/// How a broker that is down is to be replaced.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Replacement {
    /// Where others have all that it has.
    Safe,
    /// Also where it has the only replica of a partition.
    LoseData,
}

/// Where a pod is in its life.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum PodPhase {
    /// No node takes it.
    Unschedulable,
    /// Its image cannot be pulled, or its container cannot be created from the spec.
    ImageError,
    /// Its process ended again and again, and is not running now.
    CrashLoop,
    /// Scheduled, not yet running.
    Creating,
    Running,
    Terminating,
}

impl PodPhase {
    /// It will not start by itself.
    pub fn is_broken(self) -> bool {
        matches!(self, PodPhase::Unschedulable | PodPhase::ImageError | PodPhase::CrashLoop)
    }
}

/// A volume claim as it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct ClaimView {
    /// Since when it is `FileSystemResizePending`: the file system grows while it is in use, where
    /// it can, or else when the pod starts.
    pub resize_since_ms: Option<i64>,
    /// It goes as soon as no pod uses it, and its volume with it.
    pub deleting: bool,
    /// Its volume is no more: a pod that uses it runs on, and no other could start.
    pub lost: bool,
    /// No node that answers can reach its volume.
    pub stranded: bool,
}

/// What the brokers say. The parts come from different requests, so each may be missing.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct ClusterView {
    /// Registered brokers, fenced ones too.
    pub brokers: BTreeMap<BrokerId, BrokerView>,
    /// Every rack, by name.
    pub racks: BTreeMap<String, RackRisk>,
    pub quorum: Option<QuorumView>,
    /// All reassignments in flight.
    pub moves: Option<Vec<MoveView>>,
    /// `None` where the brokers are of a release without levels, or could not be asked.
    pub level: Option<LevelView>,
}

/// The feature `barnabas.version`: which metadata records the cluster may write.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct LevelView {
    pub finalized: i16,
    /// The highest that the release of the broker that was asked can read.
    pub supported: i16,
}

/// A registered broker.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct BrokerView {
    pub fenced: bool,
    pub rack: Option<String>,
    pub risk: Option<BrokerRisk>,
    /// Replicas of the broker that are not in sync, and examples.
    pub missing: Option<Missing>,
    /// Its dynamic configs.
    pub settings: Option<BrokerSettings>,
    /// Bytes in its log directories.
    pub bytes: Option<u64>,
}

/// What would happen if a broker stopped now.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct BrokerRisk {
    /// Partitions that would fall below their minimum ISR.
    pub at_risk: u64,
    pub examples: Vec<String>,
    /// Partitions that would, whatever the order of restarts.
    pub unavoidable: u64,
    pub unavoidable_examples: Vec<String>,
    /// Replicas on the broker, those being added or removed too.
    pub hosted: u64,
    pub leading: u64,
}

/// What would happen if all brokers of a rack stopped now.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct RackRisk {
    pub at_risk: u64,
    pub examples: Vec<String>,
    pub unavoidable: u64,
}

/// Replicas that are not in sync.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Missing {
    pub count: u64,
    pub examples: Vec<String>,
}

/// Dynamic configs of one broker (not those of all brokers).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct BrokerSettings {
    /// `cordoned.log.dirs` is `*`.
    pub cordoned: bool,
    /// `leader.` or `follower.replication.throttled.rate` is set.
    pub throttled: bool,
}

/// The metadata quorum.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct QuorumView {
    pub leader: Option<BrokerId>,
    pub voters: BTreeMap<BrokerId, VoterView>,
    /// Members that follow without a vote.
    pub observers: BTreeMap<BrokerId, ObserverView>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct VoterView {
    /// It follows the leader closely, or is the leader; false for all where nobody leads.
    pub caught_up: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct ObserverView {
    pub caught_up: bool,
}

/// A reassignment in flight.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MoveView {
    pub partition: TopicPartition,
    /// All replicas: those that stay, those being added, those being removed.
    pub replicas: Vec<BrokerId>,
    pub adding: Vec<BrokerId>,
    pub removing: Vec<BrokerId>,
    /// Empty where it is not known.
    pub isr: Vec<BrokerId>,
}

/// A partition.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PartitionView {
    pub topic: String,
    pub partition: i32,
    /// In order of preference; those being added and removed too.
    pub replicas: Vec<BrokerId>,
    pub isr: Vec<BrokerId>,
    pub adding: Vec<BrokerId>,
    pub removing: Vec<BrokerId>,
    pub leader: Option<BrokerId>,
    /// Size of one replica, where it is known.
    pub bytes: Option<u64>,
}

impl PartitionView {
    /// The replicas once what is in flight is done.
    pub fn target(&self) -> Vec<BrokerId> {
        self.replicas.iter().copied().filter(|b| !self.removing.contains(b)).collect()
    }

    pub fn is_moving(&self) -> bool {
        !self.adding.is_empty() || !self.removing.is_empty()
    }

    pub fn name(&self) -> String {
        format!("{}-{}", self.topic, self.partition)
    }
}
