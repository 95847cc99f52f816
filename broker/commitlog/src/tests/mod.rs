//! Tests of the log as a whole, over the file system in memory.
#![allow(clippy::unwrap_used)]

mod append;
mod clean;
mod disk;
mod maintenance;
mod model;
mod open_files;
mod producers;
mod recovery;
mod regressions;
mod torn;
mod transactions;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use base::{Offset, TopicPartition};
use record::{Batch, BatchBuilder, BatchOptions, Origin, batches, records};

use crate::fs::{Fs, MemFs};
use crate::{
    AbortedTransaction, Access, AppendInfo, FetchSlice, LoadState, Log, LogConfig, LogContext,
    RecoveryReport,
};

pub const NOW: i64 = 1_000_000;

pub fn dir() -> PathBuf {
    PathBuf::from("/data/t-0")
}

/// A file system with the log directory in it.
pub fn mem_fs() -> MemFs {
    let fs = MemFs::new();
    fs.create_dir_all(Path::new("/data")).unwrap();
    fs.sync_dir(Path::new("/")).unwrap();
    fs
}

/// Small segments and dense indexes, so that little data meets every boundary.
pub fn config() -> LogConfig {
    LogConfig {
        segment_bytes: 1000,
        index_interval_bytes: 100,
        max_message_bytes: 1000,
        transaction_verification: false,
        ..LogConfig::kafka_defaults()
    }
}

pub fn open_with(fs: &MemFs, config: LogConfig, state: LoadState) -> (Log, RecoveryReport) {
    let context = LogContext::new(Arc::new(fs.clone()), 8);
    let partition = TopicPartition::new("t", 0);
    let opened = Log::open(&context, &dir(), partition, Arc::new(config), state, NOW).unwrap();
    opened.0.validate();
    opened
}

pub fn open(fs: &MemFs) -> Log {
    open_with(fs, config(), LoadState::default()).0
}

pub fn reopen(fs: &MemFs, clean: bool, recovery_point: Offset) -> (Log, RecoveryReport) {
    let state = LoadState { clean_shutdown: clean, recovery_point, ..LoadState::default() };
    open_with(fs, config(), state)
}

/// A batch of `count` records that carry their number, counted from `first`.
pub fn batch_with(options: BatchOptions, timestamp: i64, first: i64, count: i64) -> Vec<u8> {
    let mut builder = BatchBuilder::new(options);
    for i in first..first + count {
        builder.append(timestamp, Some(b"k"), Some(i.to_string().as_bytes()), &[]);
    }
    builder.finish()
}

pub fn batch(first: i64, count: i64) -> Vec<u8> {
    batch_with(BatchOptions::default(), NOW, first, count)
}

pub fn append(log: &mut Log, count: i64) -> AppendInfo {
    append_at(log, count, 0, NOW)
}

pub fn append_at(log: &mut Log, count: i64, epoch: i32, timestamp: i64) -> AppendInfo {
    let bytes = batch_with(BatchOptions::default(), timestamp, log.end_offset(), count);
    let info = log.append_as_leader(&bytes, epoch, Origin::Client, NOW).unwrap();
    log.validate();
    info
}

pub fn flush(log: &mut Log) {
    if let Some(work) = log.flush_work() {
        let done = work.run().unwrap();
        log.flushed(done, NOW);
    }
    log.validate();
}

pub fn bytes_of(slice: &FetchSlice) -> Vec<u8> {
    let mut bytes = vec![0; slice.len];
    assert_eq!(slice.file.read_at(&mut bytes, slice.position).unwrap(), slice.len);
    bytes
}

/// All batches from `offset` to the end, as a follower would fetch them.
pub fn fetch_all(log: &Log, mut offset: Offset) -> Vec<Vec<u8>> {
    let reader = log.reader();
    let mut found = Vec::new();
    let end = reader.end_offset();
    while let Some(slice) = reader.read(offset, 300, end, true, Access::Blocking).unwrap() {
        for batch in batches(&bytes_of(&slice)).flatten() {
            offset = batch.header.next_offset();
            found.push(batch.bytes.to_vec());
        }
    }
    found
}

/// Offset and value of every record from `offset` on.
pub fn contents(log: &Log, offset: Offset) -> Vec<(Offset, String)> {
    let mut found = Vec::new();
    for bytes in fetch_all(log, offset) {
        let batch = Batch::parse(&bytes).unwrap();
        batch.check_crc().unwrap();
        for record in records(&batch, 1 << 20).unwrap().iter() {
            let record = record.unwrap();
            let value = String::from_utf8(record.value.unwrap().to_vec()).unwrap();
            if record.offset >= offset {
                found.push((record.offset, value));
            }
        }
    }
    found
}

/// The aborted transactions that a reader from `offset` on is told of, by producer.
pub fn aborted(log: &Log, offset: Offset, max_offset: Offset) -> Vec<AbortedTransaction> {
    let reader = log.reader();
    let slice = reader.read(offset, 1 << 20, max_offset, true, Access::Blocking).unwrap();
    let Some(slice) = slice else { return Vec::new() };
    reader.aborted_transactions(offset, &slice, Access::Blocking).unwrap()
}

/// What [`append`] wrote between two offsets.
pub fn expected(from: Offset, to: Offset) -> Vec<(Offset, String)> {
    (from..to).map(|i| (i, i.to_string())).collect()
}

pub fn files(fs: &MemFs, suffix: &str) -> Vec<String> {
    let names = fs.list(&dir()).unwrap();
    names.into_iter().filter(|name| name.ends_with(suffix)).collect()
}
