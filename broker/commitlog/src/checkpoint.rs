//! The small files beside the segments, in Kafka's formats. Each is replaced atomically: written
//! to a temporary name, synced, renamed, and the directory synced. All calls block.

use std::collections::BTreeMap;
use std::path::Path;

use base::{Offset, TopicId, TopicPartition};

use crate::LogError;
use crate::fs::Fs;

/// The checkpoints of a log directory that map partitions to offsets.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum OffsetCheckpoint {
    RecoveryPoint,
    LogStart,
    /// `replication-offset-checkpoint`.
    HighWatermark,
    Cleaner,
}

impl OffsetCheckpoint {
    /// A missing file is an empty map.
    pub fn read(
        self,
        _fs: &dyn Fs,
        _log_dir: &Path,
    ) -> Result<BTreeMap<TopicPartition, Offset>, LogError> {
        unimplemented!()
    }

    pub fn write<'a>(
        self,
        _fs: &dyn Fs,
        _log_dir: &Path,
        _offsets: impl ExactSizeIterator<Item = (&'a TopicPartition, Offset)>,
    ) -> Result<(), LogError> {
        unimplemented!()
    }
}

/// `partition.metadata`: whose data this directory holds.
pub fn read_partition_metadata(_fs: &dyn Fs, _dir: &Path) -> Result<Option<TopicId>, LogError> {
    unimplemented!()
}

/// Durable on return; must be there before the partition's first data.
pub fn write_partition_metadata(_fs: &dyn Fs, _dir: &Path, _id: TopicId) -> Result<(), LogError> {
    unimplemented!()
}

/// `.kafka_cleanshutdown`. Written last, removed (by [`take_clean_shutdown`]) at start.
pub fn write_clean_shutdown(
    _fs: &dyn Fs,
    _log_dir: &Path,
    _broker_epoch: i64,
) -> Result<(), LogError> {
    unimplemented!()
}

/// Removes the marker durably; `Some(broker epoch)` if there was one.
pub fn take_clean_shutdown(_fs: &dyn Fs, _log_dir: &Path) -> Result<Option<i64>, LogError> {
    unimplemented!()
}

/// `meta.properties`: which broker of which cluster owns the log directory.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MetaProperties {
    pub cluster_id: String,
    pub node_id: i32,
    pub directory_id: TopicId,
}

pub fn read_meta_properties(
    _fs: &dyn Fs,
    _log_dir: &Path,
) -> Result<Option<MetaProperties>, LogError> {
    unimplemented!()
}

pub fn write_meta_properties(
    _fs: &dyn Fs,
    _log_dir: &Path,
    _properties: &MetaProperties,
) -> Result<(), LogError> {
    unimplemented!()
}
