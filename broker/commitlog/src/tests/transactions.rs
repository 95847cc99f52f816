//! Transactions of a log and its follower against a model: the last stable offset, and what a
//! reader of committed records sees, after any sequence of appends, markers, cuts, deletions,
//! replication and restarts.

use std::collections::BTreeSet;

use record::ControlType;

use super::*;
use crate::TransactionMarker;

const PRODUCERS: u64 = 4;
const STEPS: usize = 120;

/// One batch of the model.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    Plain,
    Data(i64),
    Marker { producer: i64, commit: bool },
}

#[derive(Clone, Copy, Debug)]
struct Written {
    base: Offset,
    next: Offset,
    kind: Kind,
}

/// What was written, and what follows from it.
#[derive(Default)]
struct Model {
    batches: Vec<Written>,
}

impl Model {
    fn end(&self) -> Offset {
        self.batches.last().map_or(0, |batch| batch.next)
    }

    /// The marker that ends the transaction of the batch at this place.
    fn marker_of(&self, at: usize, producer: i64) -> Option<(Offset, bool)> {
        self.batches[at..].iter().find_map(|batch| match batch.kind {
            Kind::Marker { producer: of, commit } if of == producer => Some((batch.base, commit)),
            _ => None,
        })
    }

    fn last_stable(&self, start: Offset, high_watermark: Offset) -> Offset {
        self.last_stable_of(start, high_watermark, 0)
    }

    /// By the records from an offset on.
    fn last_stable_of(&self, start: Offset, high_watermark: Offset, from: Offset) -> Offset {
        let unstable = self.batches.iter().enumerate().find(|(at, batch)| match batch.kind {
            Kind::Data(_) if batch.next <= from => false,
            Kind::Data(producer) => {
                self.marker_of(*at, producer).is_none_or(|(marker, _)| marker >= high_watermark)
            }
            _ => false,
        });
        let first = unstable.map_or(high_watermark, |(_, batch)| batch.base);
        first.min(high_watermark).max(start)
    }

    /// Offsets of the committed records in a range that ends at a last stable offset.
    fn visible(&self, from: Offset, to: Offset) -> Vec<Offset> {
        let is_visible = |(at, batch): &(usize, &Written)| match batch.kind {
            Kind::Plain => true,
            Kind::Data(producer) => self.marker_of(*at, producer).is_some_and(|(_, c)| c),
            Kind::Marker { .. } => false,
        };
        let batches = self.batches.iter().enumerate().filter(is_visible);
        batches.flat_map(|(_, b)| b.base.max(from)..b.next.min(to)).collect()
    }

    fn is_open(&self, producer: i64) -> bool {
        let of_producer = self.batches.iter().rev().find_map(|batch| match batch.kind {
            Kind::Data(of) if of == producer => Some(true),
            Kind::Marker { producer: of, .. } if of == producer => Some(false),
            _ => None,
        });
        of_producer.unwrap_or(false)
    }

    /// Producers with an open transaction that has records from this offset on: where all of them
    /// are deleted, a replica may have forgotten it.
    fn open_from(&self, start: Offset) -> BTreeSet<i64> {
        let of_open = self.batches.iter().filter_map(|batch| match batch.kind {
            Kind::Data(producer) if batch.base >= start => Some(producer),
            _ => None,
        });
        of_open.filter(|producer| self.is_open(*producer)).collect()
    }
}

/// As Kafka's consumer does it with what one fetch after the other tells.
fn read_committed(log: &Log, from: Offset, last_stable: Offset, bytes: usize) -> Vec<Offset> {
    let (reader, mut offset) = (log.reader(), from);
    let mut visible = Vec::new();
    while offset < last_stable {
        let slice = reader.read(offset, bytes, last_stable, true, Access::Blocking).unwrap();
        let slice = slice.expect("there is something below the last stable offset");
        let mut told = reader.aborted_transactions(offset, &slice, Access::Blocking).unwrap();
        assert!(told.is_sorted_by_key(|txn| txn.first_offset), "{told:?}");
        told.reverse();
        let mut aborted = BTreeSet::new();
        let fetched = bytes_of(&slice);
        let before = offset;
        for batch in batches(&fetched).flatten() {
            let header = batch.header;
            while let Some(txn) = told.pop_if(|txn| txn.first_offset <= header.last_offset()) {
                aborted.insert(txn.producer_id);
            }
            offset = header.next_offset();
            if header.is_control() {
                let marker = crate::append::parse_marker(&batch).unwrap();
                if marker.kind == ControlType::Abort {
                    aborted.remove(&header.producer_id);
                }
            } else if !header.is_transactional() || !aborted.contains(&header.producer_id) {
                visible.extend(header.base_offset.max(from)..header.next_offset());
            }
        }
        assert!(offset > before, "the reader goes on");
        let unread = told.iter().filter(|txn| txn.first_offset > offset + 20);
        assert_eq!(unread.count(), 0, "what was not read needs no telling");
    }
    visible
}

/// Producers with an open transaction.
fn open_in(log: &Log) -> BTreeSet<i64> {
    let is_open = |known: &crate::ProducerSnapshotEntry| known.current_txn_first_offset.is_some();
    log.producers().iter().filter(|known| is_open(known)).map(|known| known.producer_id).collect()
}

struct World {
    fs: [MemFs; 2],
    logs: [Log; 2],
    model: Model,
    high_watermark: Offset,
    /// As in Kafka, a snapshot does not say which markers in it are not replicated yet: below such
    /// an offset a log that came back may tell of transactions whose end lies below it.
    reloaded_at: [Offset; 2],
    rng: u64,
}

fn small() -> LogConfig {
    LogConfig { segment_bytes: 700, retention_bytes: 1500, ..config() }
}

impl World {
    fn new(seed: u64) -> World {
        let fs = [mem_fs(), mem_fs()];
        let logs = [0, 1].map(|i: usize| open_with(&fs[i], small(), LoadState::default()).0);
        let rng = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        World { fs, logs, model: Model::default(), high_watermark: 0, reloaded_at: [0; 2], rng }
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.rng ^= self.rng << 13;
        self.rng ^= self.rng >> 7;
        self.rng ^= self.rng << 17;
        self.rng % limit
    }

    fn step(&mut self) {
        match self.below(24) {
            0..4 => self.data(None),
            4..11 => {
                let producer = self.below(PRODUCERS) as i64;
                self.data(Some(producer));
            }
            11..15 => self.marker(),
            15..18 => self.replicate(),
            18 => self.lose_tail(),
            19 => self.delete(),
            20 => self.logs.iter_mut().for_each(flush),
            21 | 22 => self.restart(),
            _ if self.logs[0].active.size() > 0 => self.logs[0].roll(NOW).unwrap(),
            _ => {}
        }
    }

    fn data(&mut self, producer: Option<i64>) {
        let (base, count) = (self.model.end(), self.below(4) as i64 + 1);
        let mut options = BatchOptions::default();
        if let Some(id) = producer {
            options.transactional = true;
            (options.producer_id, options.producer_epoch) = (id, 0);
            options.base_sequence = self.next_sequence(id);
        }
        let bytes = batch_with(options, NOW, base, count);
        let info = self.logs[0].append_as_leader(&bytes, 0, Origin::Client, NOW).unwrap();
        assert_eq!((info.first_offset, info.duplicate), (base, false));
        let kind = producer.map_or(Kind::Plain, Kind::Data);
        self.model.batches.push(Written { base, next: base + count, kind });
    }

    /// Deleted records may be forgotten, and their producers: those begin anew then.
    fn next_sequence(&self, producer: i64) -> i32 {
        let known = self.logs[0].producers();
        let of_producer = known.iter().find(|known| known.producer_id == producer);
        of_producer.map_or(0, |known| known.last_sequence + 1)
    }

    /// Also one without a transaction, as a coordinator that repeats itself sends it.
    fn marker(&mut self) {
        let (producer, commit) = (self.below(PRODUCERS) as i64, self.below(2) == 0);
        let marker = TransactionMarker {
            producer_id: producer,
            producer_epoch: 0,
            coordinator_epoch: 1,
            commit,
            transaction_version: 0,
        };
        let bytes = marker.encode(NOW);
        let validated = marker.validated(&bytes).unwrap();
        let base = self.logs[0].append_validated(&validated, 0, NOW).unwrap().first_offset;
        let kind = Kind::Marker { producer, commit };
        self.model.batches.push(Written { base, next: base + 1, kind });
    }

    fn replicate(&mut self) {
        let from = self.logs[1].end_offset();
        let batches = fetch_all(&self.logs[0], from);
        let count = self.below(batches.len() as u64 + 1) as usize;
        for bytes in &batches[..count] {
            self.logs[1].append_as_follower(bytes, NOW).unwrap();
        }
        let end = self.logs[1].end_offset();
        if self.below(3) > 0 {
            self.high_watermark = end;
            self.logs.iter_mut().for_each(|log| log.on_high_watermark(end));
        }
    }

    /// The leader comes back with what its follower has.
    fn lose_tail(&mut self) {
        let end = self.logs[1].end_offset();
        if end <= self.logs[0].start_offset() {
            // All would go, and what is known of producers with it.
            return;
        }
        self.logs[0].truncate_to(end).unwrap();
        self.reloaded_at[0] = end;
        self.model.batches.retain(|batch| batch.next <= end);
        let high_watermark = self.high_watermark;
        self.logs[0].on_high_watermark(high_watermark);
    }

    fn delete(&mut self) {
        let high_watermark = self.high_watermark;
        let start = self.logs[0].start_offset();
        let to = start + self.below(1 + (high_watermark - start) as u64) as i64;
        for log in &mut self.logs {
            flush(log);
            log.delete_records(to, high_watermark).unwrap();
            log.retention(NOW, high_watermark).unwrap();
            flush(log);
        }
        let start = self.logs.each_ref().map(Log::start_offset).into_iter().max().unwrap();
        for log in &mut self.logs {
            log.delete_records(start, high_watermark).unwrap();
        }
    }

    fn restart(&mut self) {
        let at = self.below(2) as usize;
        let log = &self.logs[at];
        let (recovery_point, log_start) = (log.recovery_point(), log.start_offset());
        self.fs[at].kill();
        let state = LoadState { recovery_point, log_start, ..LoadState::default() };
        self.logs[at] = open_with(&self.fs[at], small(), state).0;
        self.reloaded_at[at] = self.logs[at].end_offset();
        let high_watermark = self.high_watermark;
        self.logs[at].on_high_watermark(high_watermark);
    }

    fn check(&mut self) {
        let (start, high_watermark) = (self.logs[0].start_offset(), self.high_watermark);
        assert_eq!(self.logs[0].end_offset(), self.model.end());
        let last_stable = self.model.last_stable(start, high_watermark);
        let bytes = self.below(300) as usize + 1;
        let from = start + self.below(1 + (last_stable - start) as u64) as i64;
        for (at, log) in self.logs.iter().enumerate() {
            let first = log.first_unstable_offset().unwrap_or(high_watermark);
            let told = first.min(high_watermark);
            if self.reloaded_at[at] <= high_watermark {
                // Of a transaction whose first records are deleted, those that are left are known.
                let left = self.model.last_stable_of(start, high_watermark, start);
                assert!(told == last_stable || told == left, "log {at}: {told}, {last_stable}");
            }
            assert!(told >= last_stable, "log {at}: {told} < {last_stable}");
            let expected = self.model.visible(from, told);
            assert_eq!(read_committed(log, from, told, bytes), expected, "log {at}");
        }
        let open = self.model.open_from(start);
        for log in self.logs.iter().filter(|log| log.end_offset() == self.model.end()) {
            let known = open_in(log);
            assert!(known.is_superset(&open), "{known:?} {open:?}");
            let surplus = known.iter().find(|id| !self.model.is_open(**id));
            assert_eq!(surplus, None, "{known:?}");
        }
    }
}

#[test]
fn readers_of_committed_records_see_what_the_model_says_on_every_replica() {
    for seed in 0..60 {
        let mut world = World::new(seed);
        for step in 0..STEPS {
            world.step();
            let checked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| world.check()));
            assert!(checked.is_ok(), "seed {seed}, step {step}");
        }
    }
}

/// Its abort marker was appended while the coordinator still said that it is under way.
#[test]
fn a_batch_that_comes_after_the_end_of_its_transaction_opens_none() {
    let verifying = LogConfig { transaction_verification: true, ..config() };
    let mut log = open_with(&mem_fs(), verifying, LoadState::default()).0;
    let options = BatchOptions {
        producer_id: 9,
        producer_epoch: 0,
        base_sequence: 0,
        transactional: true,
        ..BatchOptions::default()
    };
    let bytes = batch_with(options, NOW, 0, 1);
    let (config, partition) = (log.config().clone(), log.partition().clone());
    let late = crate::Validated::new(&bytes, &config, &partition, Origin::Client, NOW).unwrap();
    let start =
        crate::VerificationStart { producer_id: 9, epoch: 0, sequence: 0, bumps_epoch: false };
    let guard = log.start_verification(start, NOW);
    assert!(guard.is_some());
    let marker = TransactionMarker {
        producer_id: 9,
        producer_epoch: 0,
        coordinator_epoch: 1,
        commit: false,
        transaction_version: 0,
    };
    let encoded = marker.encode(NOW);
    log.append_validated(&marker.validated(&encoded).unwrap(), 0, NOW).unwrap();
    let refused = log.append_verified(&late, 0, NOW, guard).unwrap_err();
    assert_eq!(refused.code(), base::ErrorCode::InvalidTxnState);
    assert_eq!(log.first_unstable_offset(), None, "nothing hangs");
    let again = log.start_verification(start, NOW);
    assert!(again.is_some() && again != guard);
    log.append_verified(&late, 0, NOW, again).unwrap();
    assert_eq!(log.start_verification(start, NOW), None, "it is open");
    log.truncate_to(0).unwrap();
    assert!(log.start_verification(start, NOW).is_some(), "it was cut off");
}
