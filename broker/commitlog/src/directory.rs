//! The directory of a partition: how it is named, begun, set aside and removed, and whose it is.
//!
//! A directory is a partition's only if the topic's id is in its `partition.metadata`. Log
//! directories may hold anything else besides; what is not known to be ours is never used,
//! renamed or removed. Nothing in this crate removes a tree: files are removed one by one, and a
//! directory once it is empty.
//!
//! | name                              | what it is                                              |
//! |-----------------------------------|---------------------------------------------------------|
//! | `<topic>-<number>`                | a partition                                             |
//! | the same `.<32 hex>-delete`       | a partition that was deleted or moved away              |
//! | the same `.<32 hex>-stray`        | a partition that the metadata did not know, kept        |
//!
//! The longest topic's names with a suffix would not fit into a file system's 255 bytes, so that
//! they are cut before it, as Kafka cuts them.

use std::io;
use std::path::{Path, PathBuf};

use base::{TopicId, TopicPartition, topic_name};

use crate::LogError;
use crate::checkpoint::{self, EPOCHS, PARTITION_METADATA};
use crate::format::{self, Entry};
use crate::fs::Fs;

/// What file systems take as a name.
const NAME_BYTES_MAX: usize = 255;
/// Hex digits that make a name unique.
const UNIQUE_LEN: usize = 32;

/// What a directory in a log directory is, by its name alone.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum PartitionDir {
    Live(TopicPartition),
    /// To be removed, if it is known to be ours.
    Deleted,
    /// `-future` and `-stray` directories, and whatever is not ours: left alone.
    Other,
}

/// Why a partition's directory gets another name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Aside {
    /// It is removed later.
    Deleted,
    /// It is kept for whoever misses it.
    Stray,
}

impl Aside {
    fn suffix(self) -> &'static str {
        match self {
            Aside::Deleted => "-delete",
            Aside::Stray => "-stray",
        }
    }
}

pub fn classify_dir(name: &str) -> PartitionDir {
    if is_set_aside(name, Aside::Deleted) {
        return PartitionDir::Deleted;
    }
    live(name).map_or(PartitionDir::Other, PartitionDir::Live)
}

fn live(name: &str) -> Option<TopicPartition> {
    let (topic, partition) = name.rsplit_once('-')?;
    let number = partition.parse::<i32>().ok().filter(|number| *number >= 0)?;
    // Only the canonical spelling: "-01" or "-+1" is not a partition of ours.
    let canonical = number.to_string() == partition && topic_name::check_new(topic).is_ok();
    canonical.then(|| TopicPartition::new(topic, number))
}

fn is_set_aside(name: &str, aside: Aside) -> bool {
    let parts = name.strip_suffix(aside.suffix()).and_then(|rest| rest.rsplit_once('.'));
    let Some((partition, unique)) = parts else { return false };
    let is_hex = |b: u8| b.is_ascii_digit() || matches!(b, b'a'..=b'f');
    // A name that was cut may lack its number.
    let was_cut = name.len() == NAME_BYTES_MAX && topic_name::check(partition).is_ok();
    unique.len() == UNIQUE_LEN
        && unique.bytes().all(is_hex)
        && (was_cut || live(partition).is_some())
}

/// The name under which a partition's directory is set aside; `unique` is 32 hex digits.
pub fn aside_name(partition: &TopicPartition, unique: u128, aside: Aside) -> String {
    let (name, suffix) = (partition.to_string(), aside.suffix());
    let kept = name.len().min(NAME_BYTES_MAX - (1 + UNIQUE_LEN + suffix.len()));
    // Names of topics are ASCII: any cut is between two characters.
    let kept = name.get(..kept).unwrap_or(&name);
    format!("{kept}.{unique:032x}{suffix}")
}

fn not_ours(path: &Path, reason: impl Into<String>) -> LogError {
    LogError::NotOurs { path: path.to_owned(), reason: reason.into() }
}

/// The topic whose partition a directory holds. What cannot tell is nobody's.
pub fn owner(fs: &dyn Fs, dir: &Path) -> Result<TopicId, LogError> {
    match checkpoint::read_partition_metadata(fs, dir) {
        Ok(Some(topic_id)) => Ok(topic_id),
        Ok(None) => Err(not_ours(dir, format!("has no {PARTITION_METADATA}"))),
        Err(LogError::Corrupt { reason, .. }) => {
            Err(not_ours(dir, format!("its {PARTITION_METADATA} {reason}")))
        }
        Err(LogError::Io { source, .. }) if source.kind() == io::ErrorKind::NotADirectory => {
            Err(not_ours(dir, "is no directory"))
        }
        Err(error) => Err(error),
    }
}

/// Something says, or said, whose partition the directory holds.
pub fn is_marked(fs: &dyn Fs, dir: &Path) -> bool {
    fs.exists(&dir.join(PARTITION_METADATA))
}

/// Whether a new partition may have its directory at this path: where nothing is, or where an
/// earlier attempt ended before it wrote anything down.
pub fn is_free(fs: &dyn Fs, dir: &Path) -> bool {
    if !fs.exists(dir) {
        return true;
    }
    let unfinished = format!("{PARTITION_METADATA}.tmp");
    fs.list(dir).is_ok_and(|names| names.iter().all(|name| *name == unfinished))
}

/// Makes the directory of a new partition: durable once it and `log_dir` are synced. Where an
/// earlier attempt failed, that of the same topic is used again. Nobody else's data is taken over.
pub fn create(
    fs: &dyn Fs,
    log_dir: &Path,
    partition: &TopicPartition,
    topic_id: TopicId,
) -> Result<PathBuf, LogError> {
    let dir = log_dir.join(partition.to_string());
    topic_name::check_new(&partition.topic).map_err(|error| not_ours(&dir, error.to_string()))?;
    if !is_free(fs, &dir) && owner(fs, &dir).ok() != Some(topic_id) {
        return Err(not_ours(&dir, "is in the way of a new partition"));
    }
    fs.create_dir_all(&dir).map_err(|error| LogError::io("create", &dir, error))?;
    checkpoint::write_partition_metadata(fs, &dir, topic_id)?;
    Ok(dir)
}

/// Renames the directory of a partition of this topic, and of no other; returns its new path.
pub fn set_aside(
    fs: &dyn Fs,
    dir: &Path,
    (partition, topic_id): (&TopicPartition, TopicId),
    aside: Aside,
    unique: u128,
) -> Result<PathBuf, LogError> {
    let found = owner(fs, dir)?;
    if found != topic_id {
        return Err(not_ours(dir, format!("belongs to topic id {found}, not to {topic_id}")));
    }
    let renamed = dir.with_file_name(aside_name(partition, unique, aside));
    fs.rename(dir, &renamed).map_err(|error| LogError::io("rename", dir, error))?;
    Ok(renamed)
}

/// Removes a directory that was set aside as deleted. `partition.metadata` goes last: what an end
/// in between leaves is still known to be ours. Nothing happens if it is gone already.
pub fn remove(fs: &dyn Fs, dir: &Path) -> Result<(), LogError> {
    let name = dir.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    if !is_set_aside(name, Aside::Deleted) {
        return Err(not_ours(dir, "was not set aside"));
    }
    let names = match fs.list(dir) {
        Ok(names) => names,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(LogError::io("list", dir, error)),
    };
    // Version 0.1 removed in no order, so that the rest of what it removed tells no owner.
    if !names.iter().all(|name| is_of_a_log(name)) {
        owner(fs, dir)?;
    }
    let (last, first): (Vec<&String>, Vec<&String>) =
        names.iter().partition(|name| *name == PARTITION_METADATA);
    for name in first.into_iter().chain(last) {
        let path = dir.join(name);
        fs.remove_file(&path).map_err(|error| LogError::io("remove", &path, error))?;
    }
    fs.remove_dir(dir).map_err(|error| LogError::io("remove", dir, error))
}

/// Whether only a log of a partition has files of such names.
fn is_of_a_log(name: &str) -> bool {
    let name = format::original_name(name);
    let name = name.strip_suffix(".tmp").unwrap_or(name);
    let is_data = matches!(format::classify(name), Entry::Data(..));
    is_data || name == EPOCHS || name == PARTITION_METADATA
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::fs::MemFs;

    const ID: TopicId = TopicId([1; 16]);
    const OTHER: TopicId = TopicId([2; 16]);

    fn logs() -> (MemFs, &'static Path) {
        let (fs, dir) = (MemFs::new(), Path::new("/logs"));
        fs.create_dir_all(dir).unwrap();
        fs.sync_dir(Path::new("/")).unwrap();
        (fs, dir)
    }

    fn is_not_ours<T: std::fmt::Debug>(result: Result<T, LogError>) -> bool {
        matches!(result, Err(LogError::NotOurs { .. }))
    }

    #[test]
    fn directories_are_told_apart_by_name() {
        let live = |topic: &str, n| PartitionDir::Live(TopicPartition::new(topic, n));
        assert_eq!(classify_dir("a-b.c-7"), live("a-b.c", 7));
        assert_eq!(classify_dir("__consumer_offsets-49"), live("__consumer_offsets", 49));
        let unique = "0123456789abcdef".repeat(2);
        assert_eq!(classify_dir(&format!("a-0.{unique}-delete")), PartitionDir::Deleted);
        for name in [
            "a-07",
            "-7",
            "lost+found",
            "old-delete",
            "a-0.7-delete",
            "__cluster_metadata-0",
            "__cluster_metadata.quorum",
        ] {
            assert_eq!(classify_dir(name), PartitionDir::Other, "{name}");
        }
        for foreign in [format!("{unique}-delete"), format!("a b-0.{unique}-delete")] {
            assert_eq!(classify_dir(&foreign), PartitionDir::Other, "{foreign}");
        }
    }

    #[test]
    fn the_longest_names_fit() {
        for (length, number) in [(1, 0), (208, 7), (214, 0), (215, 99_999), (249, 3)] {
            let partition = TopicPartition::new("t".repeat(length), number);
            for aside in [Aside::Deleted, Aside::Stray] {
                let name = aside_name(&partition, u128::MAX, aside);
                assert!(name.len() <= 255, "{name}");
                assert!(is_set_aside(&name, aside), "{name}");
                assert!(live(&name).is_none(), "{name}");
            }
        }
    }

    #[test]
    fn data_is_never_taken_over() {
        let (fs, logs) = logs();
        let partition = TopicPartition::new("t", 0);
        let dir = create(&fs, logs, &partition, ID).unwrap();
        assert_eq!(owner(&fs, &dir).unwrap(), ID);
        assert!(is_not_ours(create(&fs, logs, &partition, OTHER)));
        assert_eq!(create(&fs, logs, &partition, ID).unwrap(), dir, "the next attempt");
        let backup = logs.join("backup-2024");
        fs.create_dir_all(&backup).unwrap();
        fs.put(&backup.join("file"), b"dear").unwrap();
        assert!(is_not_ours(create(&fs, logs, &TopicPartition::new("backup", 2024), ID)));
        assert_eq!(fs.list(&backup).unwrap(), ["file"]);
    }

    #[test]
    fn an_unfinished_creation_is_finished_by_the_next() {
        let partition = TopicPartition::new("t", 0);
        for seed in 0..50 {
            let (fs, logs) = logs();
            let faults = crate::fs::Faults { fail_syncs: 1, ..Default::default() };
            fs.set_faults(faults);
            create(&fs, logs, &partition, ID).unwrap_err();
            fs.crash(&mut (seed + 1));
            create(&fs, logs, &partition, OTHER).unwrap();
        }
    }

    #[test]
    fn the_quorums_name_has_no_directory() {
        let (fs, logs) = logs();
        assert!(is_not_ours(create(&fs, logs, &TopicPartition::new("__cluster_metadata", 0), ID)));
        assert!(fs.list(logs).unwrap().is_empty());
    }

    #[test]
    fn only_its_own_topic_sets_a_directory_aside() {
        let (fs, logs) = logs();
        let partition = TopicPartition::new("t", 0);
        let dir = create(&fs, logs, &partition, ID).unwrap();
        assert!(is_not_ours(set_aside(&fs, &dir, (&partition, OTHER), Aside::Deleted, 1)));
        let aside = set_aside(&fs, &dir, (&partition, ID), Aside::Stray, 1).unwrap();
        assert!(!fs.exists(&dir) && is_not_ours(remove(&fs, &aside)));
    }

    #[test]
    fn a_removal_that_was_cut_short_is_finished() {
        for left in
            [vec![PARTITION_METADATA], vec!["00000000000000000000.log"], vec![], vec![EPOCHS]]
        {
            let (fs, logs) = logs();
            let dir = logs.join(aside_name(&TopicPartition::new("t", 0), 7, Aside::Deleted));
            fs.create_dir_all(&dir).unwrap();
            for name in left {
                fs.put(&dir.join(name), b"").unwrap();
            }
            remove(&fs, &dir).unwrap();
            assert!(!fs.exists(&dir));
            remove(&fs, &dir).unwrap();
        }
    }

    #[test]
    fn foreign_content_is_not_removed() {
        let (fs, logs) = logs();
        let foreign = logs.join("photos-delete");
        fs.create_dir_all(&foreign).unwrap();
        assert!(is_not_ours(remove(&fs, &foreign)));
        let dir = logs.join(aside_name(&TopicPartition::new("t", 0), 7, Aside::Deleted));
        fs.create_dir_all(&dir.join("inner")).unwrap();
        assert!(is_not_ours(remove(&fs, &dir)));
        // Even where the rest is ours, no tree is removed.
        checkpoint::write_partition_metadata(&fs, &dir, ID).unwrap();
        remove(&fs, &dir).unwrap_err();
        assert!(fs.exists(&dir.join("inner")) && owner(&fs, &dir).is_ok());
    }
}
