//! A log with producers and transactions, and what a reader of committed data must find in it.

use std::collections::{BTreeMap, BTreeSet};

use base::{Offset, ProducerId};
use record::{Batch, BatchBuilder, BatchOptions, Compression, ControlRecord, ControlType, Origin};
use record::{batches, records};

use crate::clean::Dirt;
use crate::fs::{Fs, MemFs};
use crate::tests::{NOW, bytes_of, config, dir, fetch_all, files, mem_fs, open_with};
use crate::{
    Access, CleanError, CleanLimits, Cleaning, LoadState, Log, LogConfig, TransactionMarker,
    Validated,
};

const PLAIN: ProducerId = -1;
const IDEMPOTENT: [ProducerId; 2] = [10, 11];
const TRANSACTIONAL: [ProducerId; 3] = [20, 21, 22];

pub fn config_of(seed: u64) -> LogConfig {
    LogConfig {
        segment_bytes: 1000 + 300 * (seed % 4) as u32,
        compact: true,
        delete: false,
        delete_retention_ms: 3000,
        ..config()
    }
}

#[derive(Clone, Debug)]
struct Written {
    offset: Offset,
    key: u8,
    value: Option<String>,
    timestamp: i64,
    /// Number of the transaction.
    txn: Option<usize>,
}

#[derive(Default)]
struct Producer {
    epoch: i16,
    sequence: i32,
    txn: Option<usize>,
}

/// Key, offset, value, timestamp.
pub type Found = (u8, Offset, Option<String>, i64);

pub struct World {
    pub fs: MemFs,
    pub log: Log,
    pub now: i64,
    config: LogConfig,
    written: Vec<Written>,
    txns: Vec<Option<bool>>,
    producers: BTreeMap<ProducerId, Producer>,
    /// Tombstones that a cleaning kept, with the time from which on they may go.
    horizons: BTreeMap<Offset, i64>,
    /// A cleaning that failed may have got so far.
    attempted: Offset,
    deletes_at_random: bool,
    rng: std::cell::Cell<u64>,
}

impl World {
    pub fn new(seed: u64, config: LogConfig) -> World {
        let fs = mem_fs();
        let log = open_with(&fs, config.clone(), LoadState::default()).0;
        let producers = [PLAIN].iter().chain(&IDEMPOTENT).chain(&TRANSACTIONAL);
        World {
            fs,
            log,
            now: NOW,
            config,
            written: Vec::new(),
            txns: Vec::new(),
            producers: producers.map(|id| (*id, Producer::default())).collect(),
            horizons: BTreeMap::new(),
            attempted: 0,
            deletes_at_random: false,
            rng: std::cell::Cell::new(seed),
        }
    }

    pub fn draw(&self, n: i64) -> i64 {
        let next = self.rng.get().wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1442695041);
        self.rng.set(next);
        ((next >> 33) % n as u64) as i64
    }

    pub fn advance(&mut self, ms: i64) {
        self.now += ms;
    }

    pub fn step(&mut self) {
        self.now += self.draw(50);
        self.deletes_at_random = true;
        let keys: Vec<u8> = (0..1 + self.draw(5)).map(|_| self.draw(12) as u8).collect();
        match self.draw(20) {
            0..5 => self.append(PLAIN, &keys, None),
            5..9 => self.append(IDEMPOTENT[self.draw(2) as usize], &keys, None),
            9..13 => self.transact(self.draw(3) as usize, &keys),
            13..16 => {
                let commit = self.draw(2) == 0;
                self.end_transaction(self.draw(3) as usize, commit);
            }
            16 => self.append_tombstone(self.draw(12) as u8),
            17 => self.roll(),
            18 => {
                self.flush();
                self.clean(self.draw(3) == 0);
                self.check();
            }
            _ => self.restart_from_nothing(),
        }
    }

    pub fn append_keys(&mut self, keys: &[u8]) {
        self.append(PLAIN, keys, None);
    }

    pub fn append_tombstone(&mut self, key: u8) {
        self.append(PLAIN, &[key | 0x80], None);
    }

    pub fn transact(&mut self, producer: usize, keys: &[u8]) {
        let id = TRANSACTIONAL[producer];
        let txn = self.producers[&id].txn.unwrap_or_else(|| {
            self.txns.push(None);
            self.txns.len() - 1
        });
        self.producers.get_mut(&id).unwrap().txn = Some(txn);
        self.append(id, keys, Some(txn));
    }

    /// The highest bit of a key stands for a tombstone.
    fn append(&mut self, id: ProducerId, keys: &[u8], txn: Option<usize>) {
        let compression = match self.draw(3) {
            0 => Compression::Zstd,
            1 => Compression::Lz4,
            _ => Compression::None,
        };
        let mut options =
            BatchOptions { compression, transactional: txn.is_some(), ..BatchOptions::default() };
        if id != PLAIN {
            let producer = self.producers.get_mut(&id).unwrap();
            options.producer_id = id;
            options.producer_epoch = producer.epoch;
            options.base_sequence = producer.sequence;
            producer.sequence += keys.len() as i32;
        }
        let mut builder = BatchBuilder::new(options);
        let base = self.log.end_offset();
        for (offset, key) in (base..).zip(keys) {
            let is_tombstone = key & 0x80 != 0 || self.deletes_at_random && self.draw(8) == 0;
            let value = (!is_tombstone).then(|| format!("value of {offset}"));
            let (key, timestamp) = (key & 0x7f, self.now + offset - base);
            builder.append(timestamp, Some(&[key]), value.as_deref().map(str::as_bytes), &[]);
            self.written.push(Written { offset, key, value, timestamp, txn });
        }
        self.log.append_as_leader(&builder.finish(), 1, Origin::Client, self.now).unwrap();
        self.log.on_high_watermark(self.log.end_offset());
    }

    pub fn end_transaction(&mut self, producer: usize, commit: bool) {
        let id = TRANSACTIONAL[producer];
        let bumps = self.draw(2) == 0;
        let producer = self.producers.get_mut(&id).unwrap();
        let Some(txn) = producer.txn.take() else { return };
        if bumps {
            (producer.epoch, producer.sequence) = (producer.epoch + 1, 0);
        }
        let marker = TransactionMarker {
            producer_id: id,
            producer_epoch: producer.epoch,
            coordinator_epoch: 1,
            commit,
            transaction_version: if bumps { 2 } else { 0 },
        };
        self.txns[txn] = Some(commit);
        let bytes = marker.encode(self.now);
        let validated: Validated<'_> = marker.validated(&bytes).unwrap();
        self.log.append_validated(&validated, 1, self.now).unwrap();
        self.log.on_high_watermark(self.log.end_offset());
    }

    pub fn end_all(&mut self) {
        for producer in 0..TRANSACTIONAL.len() {
            self.end_transaction(producer, producer % 2 == 0);
        }
    }

    pub fn roll(&mut self) {
        self.log.roll_if_needed(self.now + self.config.segment_ms + 100_000).unwrap();
        self.flush();
    }

    pub fn flush(&mut self) {
        if let Some(work) = self.log.flush_work() {
            let done = work.run().unwrap();
            self.log.flushed(done, self.now);
        }
    }

    pub fn last_stable(&self) -> Offset {
        self.log.first_unstable_offset().unwrap_or(self.log.end_offset())
    }

    pub fn begin(&mut self, map_bytes: usize) -> Result<Cleaning, CleanError> {
        let mut work = self.log.clean_work(self.last_stable(), self.now).unwrap();
        self.log.note_producers(&mut work);
        let limits = CleanLimits {
            map_bytes,
            load_factor: 0.9,
            io_bytes: 256,
            seeds: [1, 2],
            now_ms: self.now,
        };
        work.begin(limits, &mut |_| true)
    }

    /// Cleans if there is anything dirty. With little memory it takes several times.
    pub fn clean(&mut self, little_memory: bool) -> bool {
        let work = self.log.clean_work(self.last_stable(), self.now).unwrap();
        let Dirt { dirty_bytes, .. } = work.dirt();
        if dirty_bytes == 0 {
            return false;
        }
        self.try_clean(if little_memory { 24 * 9 } else { 1 << 20 }).unwrap();
        true
    }

    /// Also where nothing is dirty, as it is done when other records come.
    pub fn force_clean(&mut self) {
        self.try_clean(1 << 20).unwrap();
    }

    pub fn try_clean(&mut self, map_bytes: usize) -> Result<(), CleanError> {
        self.attempted = self.log.end_offset();
        let mut cleaning = self.begin(map_bytes)?;
        while let Some(group) = cleaning.next_group(&mut |_| true)? {
            assert!(self.log.swap(&group, self.now)?);
            self.log.validate();
        }
        let (end, truncations) = cleaning.finish()?;
        self.log.cleaned(end, truncations);
        self.attempted = 0;
        self.fs.set_faults(crate::fs::Faults::default());
        self.note_horizons();
        Ok(())
    }

    /// A horizon is set once, by the cleaning that first keeps a tombstone.
    fn note_horizons(&mut self) {
        let latest = self.now + self.config.delete_retention_ms;
        for bytes in fetch_all(&self.log, self.log.start_offset()) {
            let batch = Batch::parse(&bytes).unwrap();
            let Some(horizon) = batch.header.delete_horizon() else { continue };
            for record in records(&batch, 1 << 20).unwrap().iter() {
                let record = record.unwrap();
                let known = *self.horizons.entry(record.offset).or_insert(horizon);
                assert!(record.value.is_some() || horizon == known && horizon <= latest);
            }
        }
    }

    /// All that is known of producers comes from the batches that are left.
    pub fn restart_from_nothing(&mut self) {
        self.flush();
        let facts = |log: &Log| {
            let known = log.producers().into_iter();
            let known = known.map(|p| (p.producer_id, p.producer_epoch, p.last_sequence));
            (known.collect::<Vec<_>>(), log.first_unstable_offset(), log.end_offset())
        };
        let (before, cleaned) = (facts(&self.log), self.log.cleaned_offset());
        self.fs.kill();
        for name in files(&self.fs, ".snapshot") {
            self.fs.remove_file(&dir().join(name)).unwrap();
        }
        let state = LoadState { cleaned, ..LoadState::default() };
        self.log = open_with(&self.fs, self.config.clone(), state).0;
        self.log.on_high_watermark(self.log.end_offset());
        assert_eq!(facts(&self.log), before);
        self.flush();
    }

    /// Everything is read as it was closed: indexes, snapshots and segments are trusted.
    pub fn restart_cleanly(&mut self) {
        self.log.close().unwrap();
        let (cleaned, producers) = (self.log.cleaned_offset(), self.log.producers());
        let state = LoadState { clean_shutdown: true, cleaned, ..LoadState::default() };
        let (log, report) = open_with(&self.fs, self.config.clone(), state);
        assert_eq!((report.segments_scanned, report.indexes_rebuilt), (0, 0), "{report:?}");
        assert_eq!(log.producers(), producers);
        self.log = log;
        self.log.on_high_watermark(self.log.end_offset());
    }

    /// After a crash that lost nothing: everything was flushed.
    pub fn reopen(&mut self) {
        let (cleaned, end) = (self.log.cleaned_offset(), self.log.end_offset());
        let recovery_point = self.log.recovery_point();
        let state = LoadState { cleaned, recovery_point, ..LoadState::default() };
        self.log = open_with(&self.fs, self.config.clone(), state).0;
        self.log.on_high_watermark(self.log.end_offset());
        assert_eq!(self.log.end_offset(), end);
    }

    /// What a consumer of committed data finds, as Kafka's clients read it.
    pub fn committed(&self) -> Vec<Found> {
        let (reader, end) = (self.log.reader(), self.last_stable());
        let (mut found, mut offset) = (Vec::new(), self.log.start_offset());
        while let Some(slice) = reader.read(offset, 400, end, true, Access::Blocking).unwrap() {
            let aborted = reader.aborted_transactions(offset, &slice, Access::Blocking).unwrap();
            let (mut aborted, mut skipped) = (aborted.into_iter().peekable(), BTreeSet::new());
            for batch in batches(&bytes_of(&slice)).flatten() {
                batch.check_crc().unwrap();
                let header = batch.header;
                while let Some(txn) = aborted.next_if(|t| t.first_offset <= header.last_offset()) {
                    skipped.insert(txn.producer_id);
                }
                offset = header.next_offset();
                read_batch(&batch, &mut skipped, &mut found);
            }
        }
        found
    }

    fn decided(&self) -> Vec<&Written> {
        let stable = self.last_stable();
        let is_there = |w: &&Written| {
            w.offset < stable && w.txn.is_none_or(|txn| self.txns[txn] == Some(true))
        };
        self.written.iter().filter(is_there).collect()
    }

    pub fn check(&mut self) {
        self.log.validate();
        self.note_horizons();
        let (found, decided) = (self.committed(), self.decided());
        let written: BTreeMap<Offset, &Written> = decided.iter().map(|w| (w.offset, *w)).collect();
        for (key, offset, value, timestamp) in &found {
            let was = written.get(offset).unwrap_or_else(|| panic!("{offset} was not committed"));
            assert_eq!((was.key, &was.value, was.timestamp), (*key, value, *timestamp));
        }
        let there: BTreeSet<Offset> = found.iter().map(|record| record.1).collect();
        let last: BTreeMap<u8, &Written> = decided.iter().map(|w| (w.key, *w)).collect();
        for was in last.values().filter(|was| !there.contains(&was.offset)) {
            let is_over = self.horizons.get(&was.offset).is_some_and(|at| self.now >= *at);
            assert!(was.value.is_none() && is_over, "{was:?} is lost");
        }
        let cleaned = self.log.cleaned_offset();
        let mut keys = BTreeSet::new();
        for (key, offset, ..) in found.iter().filter(|record| record.1 < cleaned) {
            assert!(keys.insert(key), "{offset} is not the last of its key below {cleaned}");
        }
        let untouched = cleaned.max(self.attempted);
        for was in decided.iter().filter(|was| was.offset >= untouched) {
            assert!(there.contains(&was.offset), "{was:?} was not to be cleaned yet");
        }
        self.check_reads(&found);
    }

    fn check_reads(&self, found: &[Found]) {
        let (reader, end) = (self.log.reader(), self.log.end_offset());
        for offset in (self.log.start_offset()..end).step_by(3) {
            let slice = reader.read(offset, 1, end, true, Access::Blocking).unwrap();
            let first = slice.map(|slice| bytes_of(&slice));
            let first = first.map(|bytes| Batch::parse(&bytes).unwrap().header);
            assert!(first.is_some_and(|header| header.last_offset() >= offset), "{offset}");
        }
        if let Some((_, _, _, timestamp)) = found.get(found.len() / 2) {
            let at = self.log.offset_for_timestamp(*timestamp).unwrap().unwrap();
            assert!(at.timestamp >= *timestamp);
        }
        // A follower takes it as it is.
        let fs = mem_fs();
        let mut follower = open_with(&fs, self.config.clone(), LoadState::default()).0;
        let all = fetch_all(&self.log, self.log.start_offset());
        follower.append_as_follower(&all.concat(), self.now).unwrap();
        assert_eq!(follower.end_offset(), end);
        assert_eq!(fetch_all(&follower, 0), all);
    }
}

fn read_batch(batch: &Batch<'_>, skipped: &mut BTreeSet<ProducerId>, found: &mut Vec<Found>) {
    let header = &batch.header;
    let all = records(batch, 1 << 20).unwrap();
    if header.is_control() {
        let marker = all.iter().next().and_then(|r| ControlRecord::parse(&r.unwrap()));
        if marker.is_some_and(|marker| marker.kind == ControlType::Abort) {
            skipped.remove(&header.producer_id);
        }
        return;
    }
    if header.is_transactional() && skipped.contains(&header.producer_id) {
        return;
    }
    for record in all.iter() {
        let record = record.unwrap();
        let value = record.value.map(|value| String::from_utf8(value.to_vec()).unwrap());
        found.push((record.key.unwrap()[0], record.offset, value, record.timestamp));
    }
}
