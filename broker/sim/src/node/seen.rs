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
use crate::check::{Property, recovery};
use crate::content::{BatchId, batch_ids, index_at};
use crate::message::Tp;
use crate::plan::Mutation;
use crate::world::World;

const READ_BYTES: usize = 1 << 16;

/// A producer's epoch and last sequence, by its id.
type Producers = BTreeMap<i64, (i16, i32)>;

/// One replica after one change.
#[derive(Debug)]
pub(crate) struct Seen {
    node: usize,
    incarnation: u64,
    tp: Tp,
    change: Change,
    positions: Positions,
    epoch: LeaderEpoch,
    is_leader: bool,
    is_removed: bool,
    /// Followers outside the ISR, and those that the leader believes to have less than is
    /// committed, for what an old connection of theirs brought late.
    behind: Vec<BrokerId>,
}

#[derive(Debug)]
enum Change {
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
    checked_to: Offset,
    epoch: LeaderEpoch,
    is_leader: bool,
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

impl World {
    /// Checks everything that was seen, in its order.
    pub(crate) fn take_seen(&mut self) {
        let all = std::mem::take(&mut *self.seen.lock());
        for seen in all {
            if self.violation.is_none() && self.nodes[seen.node].is_up(seen.incarnation) {
                self.replica_changed(seen);
            }
        }
    }

    fn replica_changed(&mut self, seen: Seen) {
        let (n, tp, range) = (seen.node, seen.tp, seen.positions.log());
        self.trace(|_| format!("  {n}/{tp} {seen:?}"));
        if seen.is_removed {
            // Until the removal is durable, what was there may come back.
            self.nodes[n].known.remove(&tp);
            self.disks[n].synced[tp] = 0;
            self.disks[n].torn[tp] = true;
            return;
        }
        self.nodes[n].known.entry(tp).or_default();
        match seen.change {
            Change::None => {}
            Change::Opened(Ok(found), known) => {
                self.recovered(n, tp, range, &found);
                self.may_forget_producers(n, tp, &known);
            }
            Change::Appended(Ok(batches)) => self.written(n, tp, &batches),
            Change::Truncated(known) => {
                self.disks[n].content[tp].retain(|batch| batch.last < range.end);
                self.must_know_producers(n, tp, &known, "truncation");
            }
            Change::Restarted(Ok(batches), known) => {
                let has_had = self.has_had(n, tp, range.start);
                self.starts_at(n, tp, range.start);
                self.written(n, tp, &batches);
                match has_had {
                    true => self.must_know_producers(n, tp, &known, "restart at its own end"),
                    false => self.may_forget_producers(n, tp, &known),
                }
            }
            Change::Torn => {
                self.disks[n].synced[tp] = 0;
                self.disks[n].torn[tp] = true;
            }
            Change::Opened(Err(error), _)
            | Change::Appended(Err(error))
            | Change::Restarted(Err(error), _) => {
                let detail = format!("partition {tp} node {n}: {error}");
                return self.fail(Property::Recovery, detail);
            }
        }
        self.check(seen.positions.check());
        if let Some(known) = self.nodes[n].known.get_mut(&tp) {
            let has_moved = known.checked_to != seen.positions.high;
            if has_moved {
                known.behind.clear();
            }
            known.behind.extend(seen.behind);
        }
        self.role_changed(n, tp, seen.epoch, seen.is_leader);
        self.high_watermark_changed(n, tp, &seen.positions);
    }

    fn role_changed(&mut self, n: usize, tp: Tp, epoch: LeaderEpoch, is_leader: bool) {
        let process = (n, self.nodes[n].incarnation);
        let Some(known) = self.nodes[n].known.get_mut(&tp) else { return };
        if (known.epoch, known.is_leader) == (epoch, is_leader) {
            return;
        }
        (known.epoch, known.is_leader, known.moved_ms) = (epoch, is_leader, None);
        let knows = self.checks.epochs.knows(tp, epoch, process);
        self.check(knows);
        if is_leader {
            let leads = self.checks.epochs.leads(tp, epoch, process);
            self.check(leads);
            let complete = self.checks.complete(tp, (n, epoch), &self.disks[n].content[tp]);
            self.check(complete);
        }
    }

    fn high_watermark_changed(&mut self, n: usize, tp: Tp, positions: &Positions) {
        let (new, now) = (positions.high, self.now_ms);
        let broken = self.mutation == Mutation::Assertion && new > 0;
        assert!(!broken, "the mutation: as if a core had found itself wrong");
        let Some(known) = self.nodes[n].known.get_mut(&tp) else { return };
        known.recovery_point = positions.recovery;
        let (who, range) = ((n, known.epoch), (known.checked_to, new));
        if range.0 != range.1 {
            known.checked_to = new;
            known.moved_ms = Some(now);
            let before = self.checks.committed[tp].len();
            let check = self.checks.high_watermark(tp, who, range, &self.disks[n].content[tp]);
            self.check(check);
            if self.checks.committed[tp].len() > before {
                self.check_in_sync(tp);
            }
        }
        self.mix(&[5, n as u64, tp as u64, new as u64]);
    }

    /// Compares what a log was found to hold with what was written to it, and goes on from that.
    fn recovered(&mut self, n: usize, tp: Tp, range: Range<Offset>, found: &[BatchId]) {
        let end = self.disks[n].content[tp].last().map_or(0, |batch| batch.last + 1);
        if end < range.start {
            // It died while it began anew behind what its leader had deleted.
            self.starts_at(n, tp, range.start);
        }
        let disk = &mut self.disks[n];
        let written = &disk.content[tp];
        let synced = if disk.torn[tp] {
            disk.synced[tp]
        } else {
            written.last().map_or(0, |batch| batch.last + 1)
        };
        let kept = recovery::kept(written, range.start, found);
        // What fails from now on may leave something behind again.
        let may_have_more = std::mem::replace(&mut disk.was_spoiled[tp], disk.spoiled);
        let check =
            recovery::recovered((tp, n), (written, may_have_more), synced, range.clone(), found);
        let below = index_at(written, range.start);
        disk.content[tp].truncate(below + kept);
        disk.torn[tp] = false;
        self.check(check);
        self.written(n, tp, &found[kept..]);
    }

    /// Notes what was written to a log.
    fn written(&mut self, n: usize, tp: Tp, batches: &[BatchId]) {
        for batch in batches {
            let content = &mut self.disks[n].content[tp];
            let check = self.checks.matching.written(tp, batch, content.last(), self.now_ms);
            content.push(*batch);
            self.check(check);
            self.mix(&[6, batch.base as u64, u64::from(batch.crc)]);
        }
    }

    /// The replica's log holds nothing below `offset`: what lies before was committed and deleted.
    fn starts_at(&mut self, n: usize, tp: Tp, offset: Offset) {
        let committed = &self.checks.committed[tp];
        let below = committed.partition_point(|batch| batch.last < offset);
        self.disks[n].content[tp] = committed[..below].to_vec();
        if self.checks.committed_end(tp) < offset {
            let detail = format!("partition {tp} node {n} restarts at {offset}");
            self.fail(Property::HighWatermarkContent, detail);
        }
    }

    /// Whether a replica has, or had, all that is committed below `offset`.
    fn has_had(&self, n: usize, tp: Tp, offset: Offset) -> bool {
        let below = |batches: &[BatchId]| batches.partition_point(|batch| batch.last < offset);
        let (own, committed) = (&self.disks[n].content[tp], &self.checks.committed[tp]);
        own[..below(own)] == committed[..below(committed)]
            && own.iter().any(|batch| batch.last + 1 == offset)
    }

    /// Whether the log knows the last batch of every producer: where that is less than Kafka's
    /// replicas know, a retry is taken for a first batch.
    fn knows_producers(&self, n: usize, tp: Tp, known: &Producers) -> bool {
        let mut written = BTreeMap::new();
        for batch in self.disks[n].content[tp].iter().filter(|batch| batch.producer >= 0) {
            let last = batch.sequence + (batch.last - batch.base) as i32;
            written.insert(batch.producer, (batch.producer_epoch, last));
        }
        written == *known
    }

    /// The log was opened, or began anew behind records that it never had: what is not known is
    /// forgotten, as with Kafka.
    fn may_forget_producers(&mut self, n: usize, tp: Tp, known: &Producers) {
        if !self.knows_producers(n, tp, known) {
            self.checks.sequences.forgetful.insert(tp);
        }
    }

    /// The log was cut down to records that it had before: all is to be known of them. (Where the
    /// disk had no room for a snapshot of producers, it may not.)
    fn must_know_producers(&mut self, n: usize, tp: Tp, known: &Producers, what: &str) {
        let may_lack_snapshots = self.disk_faults.every_ms > 0;
        if may_lack_snapshots || self.checks.sequences.forgetful.contains(&tp) {
            return self.may_forget_producers(n, tp, known);
        }
        if !self.knows_producers(n, tp, known) {
            let detail = format!("partition {tp} node {n} forgot producers: {what}");
            self.fail(Property::Sequence, detail);
        }
    }
}
