//! A log against a model: any sequence of operations, kills, power losses and clean restarts
//! leaves a prefix of what was written, at least what was synced, and consistent bookkeeping.

use proptest::prelude::*;

use super::*;
use crate::{LogError, ProducerSnapshotEntry};

const PRODUCERS: i64 = 3;

#[derive(Clone, Debug)]
pub enum Op {
    Append {
        count: i64,
    },
    Produce {
        producer: i64,
        count: i32,
    },
    NewEpoch,
    Roll,
    Flush,
    Sync,
    /// The broker writes the recovery points of its logs now and then.
    CheckpointRecoveryPoint,
    Truncate {
        back: i64,
    },
    DeleteRecords {
        forward: i64,
    },
    Retention,
    Full {
        room: u64,
    },
    Kill,
    PowerLoss,
    CleanRestart,
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        8 => (1i64..6).prop_map(|count| Op::Append { count }),
        6 => (0..PRODUCERS, 1i32..4).prop_map(|(producer, count)| Op::Produce { producer, count }),
        1 => Just(Op::NewEpoch),
        1 => Just(Op::Roll),
        2 => Just(Op::Flush),
        1 => Just(Op::Sync),
        1 => Just(Op::CheckpointRecoveryPoint),
        2 => (0i64..40).prop_map(|back| Op::Truncate { back }),
        1 => (1i64..30).prop_map(|forward| Op::DeleteRecords { forward }),
        1 => Just(Op::Retention),
        1 => (0u64..400).prop_map(|room| Op::Full { room }),
        1 => Just(Op::Kill),
        2 => Just(Op::PowerLoss),
        1 => Just(Op::CleanRestart),
    ]
}

/// One batch of the model.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Written {
    base: Offset,
    next: Offset,
    epoch: i32,
    producer: Option<(i64, i32)>,
}

struct World {
    fs: MemFs,
    log: Log,
    batches: Vec<Written>,
    epoch: i32,
    synced: Offset,
    saved_recovery_point: Offset,
    rng: u64,
}

fn small() -> LogConfig {
    LogConfig { segment_bytes: 700, retention_bytes: 2000, ..config() }
}

impl World {
    fn new(seed: u64) -> World {
        let fs = mem_fs();
        let log = open_with(&fs, small(), LoadState::default()).0;
        let (batches, rng) = (Vec::new(), seed);
        World { fs, log, batches, epoch: 0, synced: 0, saved_recovery_point: 0, rng }
    }

    fn next_sequence(&self, producer: i64) -> i32 {
        let last = self.batches.iter().rev().filter_map(|b| b.producer.map(|p| (p, b)));
        let mut last = last.filter(|((id, _), _)| *id == producer);
        last.next().map_or(0, |((_, first), b)| first + (b.next - b.base) as i32)
    }

    fn append(&mut self, producer: Option<i64>, count: i64) {
        let base = self.log.end_offset();
        let mut options = BatchOptions::default();
        let producer = producer.map(|id| (id, self.next_sequence(id)));
        if let Some((id, sequence)) = producer {
            (options.producer_id, options.producer_epoch) = (id, 0);
            options.base_sequence = sequence;
        }
        let bytes = batch_with(options, NOW + base, base, count);
        match self.log.append_as_leader(&bytes, self.epoch, Origin::Client, NOW) {
            Ok(info) => {
                assert_eq!((info.first_offset, info.duplicate), (base, false));
                let written = Written { base, next: base + count, epoch: self.epoch, producer };
                self.batches.push(written);
            }
            Err(error) => {
                assert_eq!(error.code(), base::ErrorCode::KafkaStorageError, "{error}");
                self.fs.set_faults(crate::fs::Faults::default());
            }
        }
    }

    fn end(&self) -> Offset {
        self.batches.last().map_or(0, |batch| batch.next).max(self.log.start_offset())
    }

    fn restart(&mut self, clean: bool) {
        let state = LoadState {
            clean_shutdown: clean,
            recovery_point: self.saved_recovery_point,
            log_start: self.log.start_offset(),
            cleaned: 0,
        };
        self.log = open_with(&self.fs, small(), state).0;
        let end = self.log.end_offset();
        assert!(end >= self.synced, "{end} is below what was synced, {}", self.synced);
        assert!(end <= self.end());
        if clean {
            assert_eq!(end, self.end(), "a clean restart loses nothing");
        }
        self.batches.retain(|batch| batch.next <= end);
        if self.log.producers().is_empty() && self.log.size() == 0 {
            self.batches.clear();
        }
        self.synced = self.log.synced_offset();
    }

    fn flush(&mut self, checkpoint: bool) {
        let work = if checkpoint { self.log.flush_work() } else { self.log.sync_work() };
        let Some(work) = work else { return };
        match work.run() {
            Ok(done) => {
                self.log.flushed(done, NOW);
                self.synced = self.synced.max(done.offset());
            }
            Err(LogError::Io { .. }) => self.fs.set_faults(crate::fs::Faults::default()),
            Err(error) => panic!("{error}"),
        }
    }

    fn apply(&mut self, op: &Op) {
        match *op {
            Op::Append { count } => self.append(None, count),
            Op::Produce { producer, count } => self.append(Some(producer), i64::from(count)),
            Op::NewEpoch => {
                self.epoch += 1;
                self.log.assign_epoch(self.epoch, self.log.end_offset()).unwrap();
            }
            Op::Roll => {
                let _ = self.log.roll_if_needed(NOW + small().segment_ms + 10_000);
            }
            Op::Flush => self.flush(true),
            Op::Sync => self.flush(false),
            Op::CheckpointRecoveryPoint => self.saved_recovery_point = self.log.recovery_point(),
            Op::Truncate { back } => self.truncate(back),
            Op::DeleteRecords { forward } => {
                let end = self.log.end_offset();
                let to = (self.log.start_offset() + forward).min(end);
                self.log.delete_records(to, end).unwrap();
            }
            Op::Retention => {
                let _ = self.log.retention(NOW, self.log.end_offset());
                for path in self.log.take_due_deletions(i64::MAX) {
                    self.fs.remove_file(&path).unwrap();
                }
            }
            Op::Full { room } => {
                let capacity_bytes = Some(self.fs.used_bytes() + room);
                self.fs.set_faults(crate::fs::Faults { capacity_bytes, ..Default::default() });
            }
            Op::Kill => {
                self.fs.kill();
                self.synced = self.log.end_offset();
                self.restart(false);
            }
            Op::PowerLoss => {
                self.fs.crash(&mut self.rng);
                self.restart(false);
            }
            Op::CleanRestart => {
                self.fs.set_faults(crate::fs::Faults::default());
                self.log.close().unwrap();
                self.synced = self.log.end_offset();
                self.saved_recovery_point = self.log.recovery_point();
                self.restart(true);
            }
        }
    }

    fn truncate(&mut self, back: i64) {
        self.fs.set_faults(crate::fs::Faults::default());
        let to = (self.log.end_offset() - back).max(self.log.start_offset());
        let info = self.log.truncate_to(to).unwrap();
        self.batches.retain(|batch| batch.next <= to);
        assert_eq!(info.end_offset, self.end());
        self.synced = self.synced.min(info.end_offset);
        // Whoever leads after a truncation has a new epoch.
        self.epoch += 1;
    }

    fn check(&self) {
        self.log.validate();
        let start = self.log.start_offset();
        let end = self.log.end_offset();
        assert_eq!(contents(&self.log, start), expected(start, end));
        for batch in self.batches.iter().filter(|batch| batch.base >= start) {
            assert_eq!(self.log.epoch_of(batch.base), Some(batch.epoch), "{batch:?}");
        }
        for entry in self.log.producers() {
            let ProducerSnapshotEntry { producer_id, last_sequence, .. } = entry;
            assert_eq!(last_sequence + 1, self.next_sequence(producer_id));
        }
        let known = |id| self.log.producers().iter().any(|entry| entry.producer_id == id);
        for batch in self.batches.iter().filter(|batch| batch.base >= start) {
            assert!(batch.producer.is_none_or(|(id, _)| known(id)), "{batch:?}");
        }
        if let Some(batch) = self.batches.last().filter(|batch| batch.base >= start) {
            let found = self.log.offset_for_timestamp(NOW + batch.base).unwrap();
            assert_eq!(found.map(|found| found.offset), Some(batch.base));
        }
    }
}

/// Applies the operations to a new log and checks it after each.
pub fn run(seed: u64, ops: impl IntoIterator<Item = Op>) {
    let mut world = World::new(seed);
    for op in ops {
        world.apply(&op);
        world.check();
    }
}

proptest! {
    #[test]
    fn a_log_is_a_prefix_of_what_was_written(
        seed: u64,
        ops in prop::collection::vec(op(), 1..60),
    ) {
        run(seed, ops);
    }
}

/// The disk fills between the two: a snapshot below a recovery point that is older than the
/// truncation is taken for proof of all that a flush makes durable.
#[test]
fn epochs_are_saved_before_the_snapshot_that_stands_for_them() {
    let written = [1, 2, 3, 2].map(|count| Op::Append { count });
    let cut = [Op::CleanRestart, Op::Append { count: 2 }, Op::Truncate { back: 8 }];
    for room in 200..500 {
        let full = [Op::Full { room }, Op::Append { count: 1 }, Op::Append { count: 1 }];
        let end = [Op::Append { count: 4 }, Op::Flush, Op::Kill];
        let all = written.iter().chain(&cut).chain(&full).chain(&end);
        run(0, all.cloned());
    }
}
