//! openraft's own storage suite, and what it does not test: the files after a restart.
#![allow(clippy::unwrap_used)]

use std::path::Path;

use metadata::{FeatureLevelRecord, MetadataRecord};
use openraft::entry::RaftEntry;
use openraft::storage::RaftLogStorageExt;
use openraft::testing::log::{StoreBuilder, Suite};

use super::*;
use crate::machine::{Machine, MachineState};
use crate::types::*;

struct Builder;

impl StoreBuilder<TypeConfig, LogStore, Machine, tempfile::TempDir> for Builder {
    async fn build(
        &self,
    ) -> Result<(tempfile::TempDir, LogStore, Machine), openraft::StorageError<TypeConfig>> {
        let dir = tempfile::tempdir().unwrap();
        let log = LogStore::open(dir.path()).unwrap();
        let (machine, _) = MachineState::open(dir.path(), "test").unwrap();
        Ok((dir, log, machine))
    }
}

#[test]
fn openraft_storage_suite() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(Suite::test_all(Builder)).unwrap();
}

fn id(term: u64, index: u64) -> LogId {
    LogId::new(term.into(), index)
}

fn entry(term: u64, index: u64, text: &str) -> Entry {
    let record = FeatureLevelRecord { name: text.into(), level: 1 };
    let records = metadata::encode_records(&[MetadataRecord::FeatureLevel(record)]);
    Entry::new_normal(id(term, index), Records(Bytes::from(records)))
}

use bytes::Bytes;

async fn reopen(log: LogStore, dir: &Path) -> LogStore {
    log.close().await;
    LogStore::open(dir).unwrap()
}

#[tokio::test]
async fn everything_is_there_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = LogStore::open(dir.path()).unwrap();
    assert_eq!(log.content(), Content { has_vote: false, has_entries: false });
    let vote = Vote::new(3, 7);
    log.save_vote(&vote).await.unwrap();
    log.blocking_append((0..10).map(|i| entry(1, i, &format!("e{i}")))).await.unwrap();
    log.truncate_after(Some(id(1, 7))).await.unwrap();
    log.blocking_append([entry(3, 8, "new")]).await.unwrap();
    log.purge(id(1, 2)).await.unwrap();
    log.save_committed(Some(id(1, 6))).await.unwrap();

    let mut log = reopen(log, dir.path()).await;
    assert_eq!(log.read_vote().await.unwrap(), Some(vote));
    assert_eq!(log.read_committed().await.unwrap(), Some(id(1, 6)));
    let state = log.get_log_state().await.unwrap();
    assert_eq!((state.last_purged_log_id, state.last_log_id), (Some(id(1, 2)), Some(id(3, 8))));
    let entries = log.try_get_log_entries(..).await.unwrap();
    assert_eq!(entries.iter().map(RaftEntry::index).collect::<Vec<_>>(), [3, 4, 5, 6, 7, 8]);
    assert_eq!(*entries.last().unwrap(), entry(3, 8, "new"));

    // A snapshot that replaces the whole log leaves a hole that the next entry must not mind.
    log.purge(id(3, 50)).await.unwrap();
    log.blocking_append([entry(4, 51, "later")]).await.unwrap();
    let mut log = reopen(log, dir.path()).await;
    assert_eq!(log.try_get_log_entries(..).await.unwrap(), [entry(4, 51, "later")]);
}

#[tokio::test]
async fn a_committed_mark_beyond_the_log_is_ignored() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = LogStore::open(dir.path()).unwrap();
    log.blocking_append([entry(1, 0, "a")]).await.unwrap();
    log.save_committed(Some(id(1, 9))).await.unwrap();
    let mut log = reopen(log, dir.path()).await;
    assert_eq!(log.read_committed().await.unwrap(), None);
}

/// What this release cannot read is not applied before Raft runs.
#[tokio::test]
async fn the_committed_mark_ends_before_what_cannot_be_read() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = LogStore::open(dir.path()).unwrap();
    let newer = Entry::new_normal(id(1, 1), Records(Bytes::from_static(b"\x01\x91\x81\xa1x\x80")));
    log.blocking_append([entry(1, 0, "a"), newer, entry(1, 2, "b")]).await.unwrap();
    log.save_committed(Some(id(1, 2))).await.unwrap();
    let mut log = reopen(log, dir.path()).await;
    assert_eq!(log.read_committed().await.unwrap(), None);
    assert_eq!(log.try_get_log_entries(..).await.unwrap().len(), 3, "it is kept");
}

#[tokio::test]
async fn a_read_is_bounded_by_bytes() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = LogStore::open(dir.path()).unwrap();
    let big = "x".repeat(READ_BYTES_MAX / 2 + 1);
    log.blocking_append((0..4).map(|i| entry(1, i, &big))).await.unwrap();
    assert_eq!(log.limited_get_log_entries(0, 4).await.unwrap().len(), 1);
    assert_eq!(log.try_get_log_entries(0..4).await.unwrap().len(), 4);
}

#[test]
#[should_panic(expected = "entries are not consecutive")]
fn a_hole_in_the_cache_is_seen() {
    let entries = [entry(1, 3, "a"), entry(1, 5, "b")].into();
    Cache { entries, ..Cache::default() }.validate();
}

#[test]
#[should_panic(expected = "a term goes back")]
fn a_term_that_goes_back_is_seen() {
    let entries = [entry(2, 3, "a"), entry(1, 4, "b")].into();
    Cache { entries, ..Cache::default() }.validate();
}
