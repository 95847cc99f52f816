//! What becomes of each replica, seen after every change of it and under its lock, and what the
//! properties say of that. The eyes read what was appended from the log itself.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::Arc;

use base::{BrokerId, LeaderEpoch, Offset, TopicPartition};
use commitlog::fs::{Faults, MemFs};
use commitlog::{Access, Log, LogReader};
use parking_lot::Mutex;
use storage::partition::{Observer, Partition, Settled};

use crate::check::positions::Positions;
use crate::content::{BatchId, batch_ids};
use crate::message::Tp;
use crate::plan::Mutation;

const READ_BYTES: usize = 1 << 16;

/// A producer's epoch and last sequence, by its id.
pub(crate) type Producers = BTreeMap<i64, (i16, i32)>;

/// One replica after one change.
#[derive(Debug)]
pub(crate) struct Seen {
    pub(crate) node: usize,
    pub(crate) incarnation: u64,
    pub(crate) tp: Tp,
    pub(crate) change: Change,
    pub(crate) positions: Positions,
    pub(crate) epoch: LeaderEpoch,
    pub(crate) is_leader: bool,
    pub(crate) is_removed: bool,
    /// Followers outside the ISR, and those that the leader believes to have less than is
    /// committed, for what an old connection of theirs brought late.
    pub(crate) behind: Vec<BrokerId>,
}

#[derive(Debug)]
pub(crate) enum Change {
    None,
    /// The log was opened, and holds this.
    Opened(Result<Vec<BatchId>, String>, Producers),
    Appended(Result<Vec<BatchId>, String>),
    Truncated(Producers),
    /// Begun anew.
    Restarted(Result<Vec<BatchId>, String>, Producers),
    Torn,
}

/// What the world remembers of a replica of a live process.
#[derive(Default)]
pub(crate) struct Known {
    /// The content below was compared with the committed history.
    pub(crate) checked_to: Offset,
    pub(crate) epoch: LeaderEpoch,
    pub(crate) is_leader: bool,
    pub(crate) recovery_point: Offset,
    /// When the high watermark moved last in this epoch.
    pub(crate) moved_ms: Option<i64>,
    /// The partition epoch of the last ISR that was proposed.
    pub(crate) proposed: Option<i32>,
    /// Followers that were behind since the high watermark moved.
    pub(crate) behind: BTreeSet<BrokerId>,
}

impl Known {
    pub(crate) fn high_watermark(&self) -> Offset {
        self.checked_to
    }
}

/// Where a replica is in memory: one that was removed may still settle when the next is there.
type Replica = usize;

/// From where to where its log goes; none while that is torn.
type Spans = Option<Range<Offset>>;

/// The observer of one process.
pub(crate) struct Eyes {
    pub(crate) node: usize,
    pub(crate) incarnation: u64,
    pub(crate) tps: Vec<TopicPartition>,
    pub(crate) fs: MemFs,
    pub(crate) mutation: Mutation,
    pub(crate) logs: Mutex<BTreeMap<Tp, (Replica, Spans)>>,
    pub(crate) seen: Arc<Mutex<Vec<Seen>>>,
}

impl Observer for Eyes {
    fn settled(&self, partition: &Partition, settled: &Settled<'_>) {
        let Some(tp) = self.tps.iter().position(|tp| *tp == partition.id) else { return };
        let (core, log) = (settled.core, settled.log);
        core.validate();
        self.seen.lock().push(Seen {
            node: self.node,
            incarnation: self.incarnation,
            tp,
            change: self.change(tp, partition, settled),
            positions: Positions::of(core, log),
            epoch: core.leader_epoch(),
            is_leader: core.is_leader(),
            is_removed: settled.is_removed,
            behind: behind(core),
        });
    }

    fn before_restart(&self, log: &mut Log) {
        if self.mutation == Mutation::ForgottenProducers {
            // An error shows in what follows.
            let _ = log.truncate_to(log.start_offset());
        }
    }
}

impl Eyes {
    fn change(&self, tp: Tp, partition: &Partition, settled: &Settled<'_>) -> Change {
        let (reader, log) = (partition.reader(), settled.log);
        let replica: Replica = std::ptr::from_ref(partition).addr();
        let range = log.start_offset()..log.end_offset();
        let mut logs = self.logs.lock();
        if settled.is_removed {
            if logs.get(&tp).is_some_and(|(of, _)| *of == replica) {
                logs.remove(&tp);
            }
            return Change::None;
        }
        let now = (!log.is_torn()).then(|| range.clone());
        let before = logs.insert(tp, (replica, now));
        let before = before.filter(|(of, _)| *of == replica).map(|(_, range)| range);
        match before {
            _ if log.is_torn() => match before {
                Some(None) => Change::None,
                _ => Change::Torn,
            },
            None | Some(None) => Change::Opened(self.read(reader, range), producers(log)),
            Some(Some(old)) => {
                let is_restart = range.is_empty() && range.start != old.start
                    || range.start > old.end
                    || range.start < old.start;
                if is_restart {
                    Change::Restarted(self.read(reader, range), producers(log))
                } else if range.end > old.end {
                    Change::Appended(self.read(reader, old.end..range.end))
                } else if range.end < old.end {
                    Change::Truncated(producers(log))
                } else {
                    Change::None
                }
            }
        }
    }

    /// Whole batches, whatever the disk does to the broker.
    fn read(&self, reader: &LogReader, range: Range<Offset>) -> Result<Vec<BatchId>, String> {
        let faults = self.fs.faults();
        self.fs.set_faults(Faults::default());
        let found = read_batches(reader, range);
        self.fs.set_faults(faults);
        found
    }
}

fn behind(core: &replica::Partition) -> Vec<BrokerId> {
    let is_behind = |id: &&BrokerId| {
        let end = core.follower_position(**id).and_then(|(end, _)| end);
        !core.isr().contains(id) || end.is_none_or(|end| end < core.high_watermark())
    };
    core.replicas().iter().filter(is_behind).copied().collect()
}

fn producers(log: &Log) -> Producers {
    let known = log.producers().into_iter();
    known.map(|p| (p.producer_id, (p.producer_epoch, p.last_sequence))).collect()
}

fn read_batches(reader: &LogReader, range: Range<Offset>) -> Result<Vec<BatchId>, String> {
    let mut found: Vec<BatchId> = Vec::new();
    let mut at = range.start;
    while at < range.end {
        let slice = reader
            .read(at, READ_BYTES, range.end, true, Access::Blocking)
            .map_err(|error| error.to_string())?;
        let mut bytes = vec![0; slice.as_ref().map_or(0, |slice| slice.len)];
        if let Some(slice) = slice {
            slice.file.read_at(&mut bytes, slice.position).map_err(|error| error.to_string())?;
        }
        let batches = batch_ids(&bytes);
        let Some(last) = batches.last() else { return Err(format!("nothing to read at {at}")) };
        at = last.last + 1;
        found.extend(batches);
    }
    Ok(found)
}
