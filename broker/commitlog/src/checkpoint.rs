//! The small files beside the segments, in Kafka's formats. Each is replaced atomically: written
//! to a temporary name, synced, renamed, and the directory synced. All calls block.
//!
//! A damaged checkpoint is an error that names the file, except where the log can rebuild what it
//! said (the leader epochs).

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};

use base::{Offset, TopicId, TopicPartition};

use crate::LogError;
use crate::epoch_cache::{EpochCache, EpochEntry};
use crate::fs::{Fs, OpenMode};

pub(crate) const EPOCHS: &str = "leader-epoch-checkpoint";
pub(crate) const PARTITION_METADATA: &str = "partition.metadata";
const TOPIC_IDS: &str = "topic-id-checkpoint";
const CLEAN_SHUTDOWN: &str = ".kafka_cleanshutdown";
const META_PROPERTIES: &str = "meta.properties";
/// Far above any real checkpoint; a file beyond it is not one of ours.
const FILE_BYTES_MAX: u64 = 256 << 20;

/// The whole file; `None` if it does not exist.
pub(crate) fn read_file(fs: &dyn Fs, path: &Path) -> Result<Option<Vec<u8>>, LogError> {
    let file = match fs.open(path, OpenMode::Read) {
        Ok(file) => file,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(LogError::io("open", path, e)),
    };
    let len = file.len().map_err(|e| LogError::io("stat", path, e))?;
    if len > FILE_BYTES_MAX {
        return Err(corrupt(path, "is too large"));
    }
    let mut bytes = vec![0; len as usize];
    let n = file.read_at(&mut bytes, 0).map_err(|e| LogError::io("read", path, e))?;
    bytes.truncate(n);
    Ok(Some(bytes))
}

fn read_text(fs: &dyn Fs, path: &Path) -> Result<Option<String>, LogError> {
    let Some(bytes) = read_file(fs, path)? else { return Ok(None) };
    String::from_utf8(bytes).map(Some).map_err(|_| corrupt(path, "is not text"))
}

/// Replaces a file atomically and durably.
pub(crate) fn replace_file(fs: &dyn Fs, path: &Path, bytes: &[u8]) -> Result<(), LogError> {
    replace_name(fs, path, bytes)?;
    sync_parent(fs, path)
}

/// As `replace_file`, but the directory is still to be synced.
fn replace_name(fs: &dyn Fs, path: &Path, bytes: &[u8]) -> Result<(), LogError> {
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(".tmp");
    let temporary = PathBuf::from(temporary);
    let file =
        fs.open(&temporary, OpenMode::Create).map_err(|e| LogError::io("create", &temporary, e))?;
    file.set_len(0).map_err(|e| LogError::io("truncate", &temporary, e))?;
    file.write_all_at(&[IoSlice::new(bytes)], 0)
        .map_err(|e| LogError::io("write", &temporary, e))?;
    file.sync().map_err(|source| LogError::Fsync { path: temporary.clone(), source })?;
    fs.rename(&temporary, path).map_err(|e| LogError::io("rename", path, e))
}

pub(crate) fn sync_parent(fs: &dyn Fs, path: &Path) -> Result<(), LogError> {
    let Some(dir) = path.parent() else { return Ok(()) };
    sync_dir(fs, dir)
}

/// Only the sync itself fails fatally: see [`crate::fs::OpenDir`].
pub fn sync_dir(fs: &dyn Fs, dir: &Path) -> Result<(), LogError> {
    let open = fs.open_dir(dir).map_err(|e| LogError::io("open", dir, e))?;
    open.sync().map_err(|source| LogError::Fsync { path: dir.to_owned(), source })
}

fn corrupt(path: &Path, reason: &str) -> LogError {
    LogError::Corrupt { path: path.to_owned(), reason: reason.to_owned() }
}

/// The lines of `version 0, count, count lines`; `None` if it is anything else.
fn counted_lines(text: &str) -> Option<Vec<&str>> {
    let mut lines = text.lines();
    if lines.next()?.trim() != "0" {
        return None;
    }
    let count: usize = lines.next()?.trim().parse().ok()?;
    let entries: Vec<&str> = lines.filter(|line| !line.trim().is_empty()).collect();
    (entries.len() == count).then_some(entries)
}

/// The checkpoints of a log directory that map partitions to offsets.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum OffsetCheckpoint {
    RecoveryPoint,
    LogStart,
    /// `replication-offset-checkpoint`.
    HighWatermark,
    Cleaner,
}

impl OffsetCheckpoint {
    pub const ALL: [OffsetCheckpoint; 4] = [
        OffsetCheckpoint::RecoveryPoint,
        OffsetCheckpoint::LogStart,
        OffsetCheckpoint::HighWatermark,
        OffsetCheckpoint::Cleaner,
    ];

    pub fn file_name(self) -> &'static str {
        match self {
            OffsetCheckpoint::RecoveryPoint => "recovery-point-offset-checkpoint",
            OffsetCheckpoint::LogStart => "log-start-offset-checkpoint",
            OffsetCheckpoint::HighWatermark => "replication-offset-checkpoint",
            OffsetCheckpoint::Cleaner => "cleaner-offset-checkpoint",
        }
    }

    /// A missing file is an empty map.
    pub fn read(
        self,
        fs: &dyn Fs,
        log_dir: &Path,
    ) -> Result<BTreeMap<TopicPartition, Offset>, LogError> {
        let path = log_dir.join(self.file_name());
        let Some(text) = read_text(fs, &path)? else { return Ok(BTreeMap::new()) };
        let parse = |line: &str| {
            let mut fields = line.split_ascii_whitespace();
            let topic = fields.next()?;
            let partition = fields.next()?.parse().ok()?;
            let offset = fields.next()?.parse().ok()?;
            fields.next().is_none().then(|| (TopicPartition::new(topic, partition), offset))
        };
        counted_lines(&text)
            .and_then(|lines| lines.into_iter().map(parse).collect())
            .ok_or_else(|| corrupt(&path, "is not an offset checkpoint"))
    }

    pub fn write<'a>(
        self,
        fs: &dyn Fs,
        log_dir: &Path,
        offsets: impl ExactSizeIterator<Item = (&'a TopicPartition, Offset)>,
    ) -> Result<(), LogError> {
        let mut text = format!("0\n{}\n", offsets.len());
        for (partition, offset) in offsets {
            // Writing to a string does not fail.
            let _ = writeln!(text, "{} {} {offset}", partition.topic, partition.partition);
        }
        replace_file(fs, &log_dir.join(self.file_name()), text.as_bytes())
    }
}

/// Whose logs the partitions were when the offset checkpoints were written; `None` without a file.
/// See `checkpoints.rs`.
pub(crate) fn read_topic_ids(
    fs: &dyn Fs,
    log_dir: &Path,
) -> Result<Option<BTreeMap<TopicPartition, TopicId>>, LogError> {
    let path = log_dir.join(TOPIC_IDS);
    let Some(text) = read_text(fs, &path)? else { return Ok(None) };
    let parse = |line: &str| {
        let mut fields = line.split_ascii_whitespace();
        let (topic, partition) = (fields.next()?, fields.next()?.parse().ok()?);
        let id = fields.next()?.parse().ok()?;
        fields.next().is_none().then(|| (TopicPartition::new(topic, partition), id))
    };
    counted_lines(&text)
        .and_then(|lines| lines.into_iter().map(parse).collect())
        .map(Some)
        .ok_or_else(|| corrupt(&path, "is not a checkpoint of topic ids"))
}

pub(crate) fn write_topic_ids(
    fs: &dyn Fs,
    log_dir: &Path,
    ids: &[(&TopicPartition, TopicId)],
) -> Result<(), LogError> {
    let mut text = format!("0\n{}\n", ids.len());
    for (partition, id) in ids {
        // Writing to a string does not fail.
        let _ = writeln!(text, "{} {} {id}", partition.topic, partition.partition);
    }
    replace_file(fs, &log_dir.join(TOPIC_IDS), text.as_bytes())
}

/// `leader-epoch-checkpoint`; `None` if missing or damaged: recovery rebuilds it.
pub(crate) fn read_epochs(fs: &dyn Fs, dir: &Path) -> Result<Option<EpochCache>, LogError> {
    let Some(bytes) = read_file(fs, &dir.join(EPOCHS))? else { return Ok(None) };
    let Ok(text) = String::from_utf8(bytes) else { return Ok(None) };
    let parse = |line: &str| {
        let (epoch, start) = line.trim().split_once(' ')?;
        Some(EpochEntry { epoch: epoch.parse().ok()?, start: start.parse().ok()? })
    };
    let entries = counted_lines(&text)
        .and_then(|lines| lines.into_iter().map(parse).collect::<Option<Vec<_>>>());
    Ok(entries.and_then(EpochCache::from_entries))
}

pub(crate) fn encode_epochs(cache: &EpochCache) -> String {
    let mut text = format!("0\n{}\n", cache.entries().len());
    for entry in cache.entries() {
        let _ = writeln!(text, "{} {}", entry.epoch, entry.start);
    }
    text
}

/// `partition.metadata`: whose data this directory holds.
pub(crate) fn read_partition_metadata(
    fs: &dyn Fs,
    dir: &Path,
) -> Result<Option<TopicId>, LogError> {
    let path = dir.join(PARTITION_METADATA);
    let Some(text) = read_text(fs, &path)? else { return Ok(None) };
    let field = |name| {
        text.lines().find_map(|line| line.split_once(':').filter(|(key, _)| key.trim() == name))
    };
    match (field("version"), field("topic_id")) {
        (Some((_, version)), Some((_, id))) if version.trim() == "0" => id
            .trim()
            .parse()
            .map(Some)
            .map_err(|e: base::ParseTopicIdError| corrupt(&path, &e.to_string())),
        _ => Err(corrupt(&path, "is not a partition's metadata")),
    }
}

/// Must be there before the partition's first data. Durable once the directory is synced, and,
/// where that is new, its parent.
pub(crate) fn write_partition_metadata(
    fs: &dyn Fs,
    dir: &Path,
    id: TopicId,
) -> Result<(), LogError> {
    let text = format!("version: 0\ntopic_id: {id}");
    replace_name(fs, &dir.join(PARTITION_METADATA), text.as_bytes())
}

/// `.kafka_cleanshutdown`. Written last, removed (by [`take_clean_shutdown`]) at start.
pub fn write_clean_shutdown(
    fs: &dyn Fs,
    log_dir: &Path,
    broker_epoch: i64,
) -> Result<(), LogError> {
    let json = format!("{{\"version\":0,\"brokerEpoch\":{broker_epoch}}}");
    replace_file(fs, &log_dir.join(CLEAN_SHUTDOWN), json.as_bytes())
}

#[derive(serde::Deserialize)]
struct CleanShutdown {
    #[serde(rename = "brokerEpoch")]
    broker_epoch: i64,
}

/// Removes the marker durably; `Some(broker epoch)` if there was one, -1 where it names none.
pub fn take_clean_shutdown(fs: &dyn Fs, log_dir: &Path) -> Result<Option<i64>, LogError> {
    let path = log_dir.join(CLEAN_SHUTDOWN);
    let Some(bytes) = read_file(fs, &path)? else { return Ok(None) };
    fs.remove_file(&path).map_err(|e| LogError::io("remove", &path, e))?;
    sync_parent(fs, &path)?;
    let marker = serde_json::from_slice::<CleanShutdown>(&bytes);
    Ok(Some(marker.map_or(-1, |marker| marker.broker_epoch)))
}

/// `meta.properties`: which broker of which cluster owns the log directory.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MetaProperties {
    pub cluster_id: String,
    pub node_id: i32,
    pub directory_id: TopicId,
}

pub fn read_meta_properties(
    fs: &dyn Fs,
    log_dir: &Path,
) -> Result<Option<MetaProperties>, LogError> {
    let path = log_dir.join(META_PROPERTIES);
    let Some(text) = read_text(fs, &path)? else { return Ok(None) };
    let field = |name: &str| {
        text.lines()
            .filter(|line| !line.starts_with('#'))
            .find_map(|line| line.split_once('=').filter(|(key, _)| key.trim() == name))
            .map(|(_, value)| value.trim())
    };
    let parsed = (|| {
        Some(MetaProperties {
            cluster_id: field("cluster.id")?.to_owned(),
            node_id: field("node.id")?.parse().ok()?,
            directory_id: field("directory.id").unwrap_or_default().parse().unwrap_or_default(),
        })
    })();
    parsed.map(Some).ok_or_else(|| corrupt(&path, "lacks cluster.id or node.id"))
}

pub fn write_meta_properties(
    fs: &dyn Fs,
    log_dir: &Path,
    properties: &MetaProperties,
) -> Result<(), LogError> {
    let MetaProperties { cluster_id, node_id, directory_id } = properties;
    let text = format!(
        "cluster.id={cluster_id}\ndirectory.id={directory_id}\nnode.id={node_id}\nversion=1\n"
    );
    replace_file(fs, &log_dir.join(META_PROPERTIES), text.as_bytes())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::fs::MemFs;

    fn fs() -> (MemFs, PathBuf) {
        let fs = MemFs::new();
        let dir = PathBuf::from("/data");
        fs.create_dir_all(&dir).unwrap();
        fs.sync_dir(Path::new("/")).unwrap();
        (fs, dir)
    }

    #[test]
    fn offset_checkpoints_survive_a_crash_whole() {
        let (fs, dir) = fs();
        let file = OffsetCheckpoint::RecoveryPoint;
        assert_eq!(file.read(&fs, &dir).unwrap(), BTreeMap::new());
        let one = BTreeMap::from([(TopicPartition::new("a", 0), 5)]);
        file.write(&fs, &dir, one.iter().map(|(p, o)| (p, *o))).unwrap();
        fs.crash(&mut 1);
        assert_eq!(file.read(&fs, &dir).unwrap(), one);
        let text = fs.contents(&dir.join("recovery-point-offset-checkpoint")).unwrap();
        assert_eq!(text, b"0\n1\na 0 5\n");
    }

    #[test]
    fn damaged_checkpoints_are_named() {
        let (fs, dir) = fs();
        for text in ["", "1\n0\n", "0\n2\na 0 5\n", "0\n1\na x 5\n", "0\n1\na 0 5 6\n"] {
            fs.put(&dir.join("log-start-offset-checkpoint"), text.as_bytes()).unwrap();
            let error = OffsetCheckpoint::LogStart.read(&fs, &dir).unwrap_err();
            assert!(error.to_string().contains("log-start-offset-checkpoint"), "{error}");
        }
    }

    #[test]
    fn the_marker_counts_once() {
        let (fs, dir) = fs();
        assert_eq!(take_clean_shutdown(&fs, &dir).unwrap(), None);
        write_clean_shutdown(&fs, &dir, 17).unwrap();
        assert_eq!(take_clean_shutdown(&fs, &dir).unwrap(), Some(17));
        fs.crash(&mut 3);
        assert_eq!(take_clean_shutdown(&fs, &dir).unwrap(), None);
    }

    #[test]
    fn metadata_files_read_back() {
        let (fs, dir) = fs();
        let id = TopicId([9; 16]);
        assert_eq!(read_partition_metadata(&fs, &dir).unwrap(), None);
        write_partition_metadata(&fs, &dir, id).unwrap();
        assert_eq!(read_partition_metadata(&fs, &dir).unwrap(), Some(id));
        let properties =
            MetaProperties { cluster_id: "c".to_owned(), node_id: 3, directory_id: id };
        write_meta_properties(&fs, &dir, &properties).unwrap();
        assert_eq!(read_meta_properties(&fs, &dir).unwrap(), Some(properties));
        fs.put(&dir.join(PARTITION_METADATA), b"version: 1\n").unwrap();
        assert!(read_partition_metadata(&fs, &dir).is_err());
    }

    #[test]
    fn a_new_partition_survives_the_loss_of_power() {
        for seed in 0..50 {
            let fs = MemFs::new();
            let logs = Path::new("/logs");
            fs.create_dir_all(logs).unwrap();
            fs.sync_dir(Path::new("/")).unwrap();
            let dir = logs.join("t-0");
            fs.create_dir_all(&dir).unwrap();
            let id = TopicId([7; 16]);
            write_partition_metadata(&fs, &dir, id).unwrap();
            sync_dir(&fs, &dir).unwrap();
            sync_dir(&fs, logs).unwrap();
            fs.crash(&mut (seed + 1));
            assert_eq!(read_partition_metadata(&fs, &dir).unwrap(), Some(id), "seed {seed}");
        }
    }

    #[test]
    fn epochs_read_back_and_damage_is_forgiven() {
        let (fs, dir) = fs();
        let mut cache = EpochCache::default();
        cache.assign(1, 0);
        cache.assign(4, 90);
        replace_file(&fs, &dir.join(EPOCHS), encode_epochs(&cache).as_bytes()).unwrap();
        assert_eq!(read_epochs(&fs, &dir).unwrap(), Some(cache));
        fs.put(&dir.join(EPOCHS), b"0\n2\n4 90\n1 0\n").unwrap();
        assert_eq!(read_epochs(&fs, &dir).unwrap(), None);
    }
}
