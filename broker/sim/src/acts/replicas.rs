//! What the properties say of each replica after every change of it.

use std::collections::BTreeMap;
use std::ops::Range;

use base::{LeaderEpoch, Offset};

use crate::check::positions::Positions;
use crate::check::{Property, recovery};
use crate::content::{BatchId, index_at};
use crate::message::Tp;
use crate::node::seen::{Change, Producers, Seen};
use crate::plan::Mutation;
use crate::world::World;

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
                // What it says of itself counts for nothing until it was opened again.
                self.check(seen.positions.check());
                return self.torn_replica_does_nothing(n, tp, seen.is_leader);
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

    fn torn_replica_does_nothing(&mut self, n: usize, tp: Tp, is_leader: bool) {
        if is_leader {
            let detail = format!("partition {tp} node {n} leads with a torn log");
            self.fail(Property::Recovery, detail);
        }
    }

    fn role_changed(&mut self, n: usize, tp: Tp, epoch: LeaderEpoch, is_leader: bool) {
        let process = (n, self.nodes[n].incarnation);
        let Some(known) = self.nodes[n].known.get_mut(&tp) else { return };
        if (known.epoch, known.is_leader) == (epoch, is_leader) {
            return;
        }
        let is_deposed = known.is_leader && !is_leader;
        (known.epoch, known.is_leader, known.moved_ms) = (epoch, is_leader, None);
        let end = self.disks[n].content[tp].last().map_or(0, |batch| batch.last + 1);
        if is_deposed && end > self.checks.committed_end(tp) {
            self.fail_a_cut(n);
        }
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
