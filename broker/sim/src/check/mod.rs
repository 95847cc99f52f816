//! The properties that hold at every step of every world, one per file. A property sees only
//! outcomes: what logs hold, what was committed to the metadata log, what clients were told.

pub mod acked;
pub mod client_high_watermark;
pub mod compare_and_set;
pub mod group;
pub mod high_watermark;
pub mod in_sync;
pub mod isr_kept;
pub mod leader_epoch;
pub mod log_matching;
pub mod positions;
pub mod recovery;
pub mod sequence;
pub mod session_kept;

use base::LeaderEpoch;

use crate::content::BatchId;
use crate::message::Tp;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Property {
    /// An offset below the high watermark never changes content, on any replica.
    HighWatermarkContent,
    /// What was acknowledged with acks=all is committed, and every later leader has it.
    AckedSurvives,
    /// log start <= last stable offset <= high watermark <= log end; recovery point <= log end.
    Positions,
    /// The "latest" offset that clients see never goes back.
    ClientHighWatermark,
    /// One leader per leader epoch; epochs only grow.
    LeaderEpoch,
    /// Replicas that agree on (offset, epoch) agree on everything before.
    LogMatching,
    /// ISR ⊆ replicas, and each member has everything below the high watermark.
    InSync,
    /// ISR changes only by compare-and-set on the partition epoch.
    CompareAndSet,
    /// A producer's sequence is applied once, in order.
    Sequence,
    /// A recovered log is a prefix of what was written, with everything that was synced.
    Recovery,
    /// One owner per partition and generation; assignments are of the member's own generation.
    GroupAssignment,
    /// A committed offset is neither lost nor moved back.
    CommittedOffset,
    /// A quiet partition keeps its ISR when somebody writes to it.
    IsrKept,
    /// A broker is fenced for its own silence or session only.
    SessionKept,
    /// Once faults stop, everything heals in bounded time.
    Convergence,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Violation {
    pub property: Property,
    pub detail: String,
}

pub type Check = Result<(), Violation>;

pub fn violated<T>(property: Property, detail: String) -> Result<T, Violation> {
    Err(Violation { property, detail })
}

/// The memory of all properties.
#[derive(Default)]
pub struct Checks {
    /// The committed history of each partition, as first seen below any high watermark.
    pub committed: Vec<Vec<BatchId>>,
    /// The leader epoch in which each of these batches was first seen to be committed.
    pub committed_in: Vec<Vec<LeaderEpoch>>,
    pub sequences: sequence::Sequences,
    pub matching: log_matching::LogMatching,
    pub epochs: leader_epoch::LeaderEpochs,
    pub latest: client_high_watermark::ClientHighWatermark,
    pub groups: group::Groups,
    pub sessions: session_kept::Sessions,
}

impl Checks {
    pub fn new(partitions: usize) -> Checks {
        Checks {
            committed: vec![Vec::new(); partitions],
            committed_in: vec![Vec::new(); partitions],
            ..Checks::default()
        }
    }

    pub fn committed_end(&self, tp: Tp) -> i64 {
        self.committed[tp].last().map_or(0, |batch| batch.last + 1)
    }
}
