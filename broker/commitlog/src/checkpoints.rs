//! What the checkpoint files of a log directory say, bound to the topics that they speak of.
//!
//! Kafka's files name partitions, and a topic that was deleted and created again has the same
//! names: the start of the old log would cut the new one. `topic-id-checkpoint` beside them says
//! which topic's log each partition was when they were written. An entry counts only for that.
//!
//! Order makes this safe: when an id changes, all other files are written anew before it is. So
//! what the id file names has its own entries or none, or it is gone: before a log of another id
//! has entries, its directory is durable, and the one that had the name no longer has it. A
//! process that ends in between leaves ids that no log has any more.
//!
//! A directory without the id file was written by version 0.1 or by Apache Kafka. There the names
//! are believed, once: the start that opens the logs writes it.

use std::collections::{BTreeMap, HashMap};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::Path;

use base::{Offset, TopicId, TopicPartition};

use crate::LogError;
use crate::checkpoint::{OffsetCheckpoint, read_topic_ids, write_topic_ids};
use crate::fs::Fs;

type Offsets = BTreeMap<TopicPartition, Offset>;

/// Where one log stands, for the checkpoints.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Position {
    pub partition: TopicPartition,
    pub topic_id: TopicId,
    pub recovery_point: Offset,
    pub log_start: Offset,
    pub high_watermark: Offset,
    pub cleaned: Offset,
}

impl Position {
    fn offset(&self, kind: OffsetCheckpoint) -> Option<Offset> {
        match kind {
            OffsetCheckpoint::RecoveryPoint => Some(self.recovery_point),
            OffsetCheckpoint::HighWatermark => Some(self.high_watermark),
            // As in Kafka: only where the log file names do not say it.
            OffsetCheckpoint::LogStart => Some(self.log_start).filter(|start| *start > 0),
            OffsetCheckpoint::Cleaner => Some(self.cleaned).filter(|offset| *offset > 0),
        }
    }
}

/// What the files of one log directory said at start.
#[derive(Debug, Default)]
pub struct Checkpoints {
    offsets: BTreeMap<OffsetCheckpoint, Offsets>,
    /// `None` where no file binds the names.
    ids: Option<BTreeMap<TopicPartition, TopicId>>,
    /// Which of the files say what they cannot say.
    damaged: Vec<String>,
}

impl Checkpoints {
    /// A damaged file counts as empty: logs are read as a whole then. Without the ids no name is
    /// believed.
    pub fn read(fs: &dyn Fs, log_dir: &Path) -> Result<Checkpoints, LogError> {
        let mut checkpoints = Checkpoints::default();
        for kind in OffsetCheckpoint::ALL {
            let offsets = checkpoints.unless_damaged(kind.read(fs, log_dir))?;
            checkpoints.offsets.insert(kind, offsets);
        }
        checkpoints.ids = match read_topic_ids(fs, log_dir) {
            Ok(None) => None,
            read => Some(checkpoints.unless_damaged(read.map(Option::unwrap_or_default))?),
        };
        Ok(checkpoints)
    }

    fn unless_damaged<T: Default>(&mut self, read: Result<T, LogError>) -> Result<T, LogError> {
        match read {
            Err(error @ LogError::Corrupt { .. }) => {
                self.damaged.push(error.to_string());
                Ok(T::default())
            }
            read => read,
        }
    }

    pub fn damaged(&self) -> &[String] {
        &self.damaged
    }

    /// The offset of this topic's partition; `None` if unknown, or known of another topic only.
    pub fn offset(
        &self,
        kind: OffsetCheckpoint,
        partition: &TopicPartition,
        topic_id: TopicId,
    ) -> Option<Offset> {
        let speaks_of_it = |ids: &BTreeMap<_, _>| ids.get(partition) == Some(&topic_id);
        if !self.ids.as_ref().is_none_or(speaks_of_it) {
            return None;
        }
        self.offsets.get(&kind)?.get(partition).copied()
    }

    /// The names are bound to ids.
    pub fn are_bound(&self) -> bool {
        self.ids.is_some()
    }
}

/// Writes the files of one log directory, those only whose content changed.
#[derive(Debug, Default)]
pub struct CheckpointWriter {
    /// Hashes of what the files say.
    offsets: HashMap<OffsetCheckpoint, u64>,
    ids: Option<u64>,
}

impl CheckpointWriter {
    /// `positions` are of all logs in the directory, seen at one time.
    pub fn write(
        &mut self,
        fs: &dyn Fs,
        log_dir: &Path,
        kinds: &[OffsetCheckpoint],
        positions: &[Position],
    ) -> Result<(), LogError> {
        let ids: Vec<_> = positions.iter().map(|p| (&p.partition, p.topic_id)).collect();
        let hash = hash_of(&ids);
        let bind = self.ids != Some(hash);
        let kinds = if bind { OffsetCheckpoint::ALL.as_slice() } else { kinds };
        for &kind in kinds {
            self.write_offsets(fs, log_dir, kind, positions)?;
        }
        if bind {
            self.ids = None;
            write_topic_ids(fs, log_dir, &ids)?;
            self.ids = Some(hash);
        }
        Ok(())
    }

    fn write_offsets(
        &mut self,
        fs: &dyn Fs,
        log_dir: &Path,
        kind: OffsetCheckpoint,
        positions: &[Position],
    ) -> Result<(), LogError> {
        let offsets = positions.iter().filter_map(|p| Some((&p.partition, p.offset(kind)?)));
        let offsets: Vec<_> = offsets.collect();
        let hash = hash_of(&offsets);
        if self.offsets.get(&kind) == Some(&hash) {
            return Ok(());
        }
        self.offsets.remove(&kind);
        kind.write(fs, log_dir, offsets.into_iter())?;
        self.offsets.insert(kind, hash);
        Ok(())
    }
}

fn hash_of(content: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    content.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::fs::{Faults, MemFs};

    const LOGS: &str = "/logs";

    fn fs() -> MemFs {
        let fs = MemFs::new();
        fs.create_dir_all(Path::new(LOGS)).unwrap();
        fs.sync_dir(Path::new("/")).unwrap();
        fs
    }

    fn at(id: u8, offset: Offset) -> Position {
        Position {
            partition: TopicPartition::new("t", 0),
            topic_id: TopicId([id; 16]),
            recovery_point: offset,
            log_start: offset,
            high_watermark: offset,
            cleaned: offset,
        }
    }

    fn read(fs: &MemFs, id: u8) -> Vec<Option<Offset>> {
        let checkpoints = Checkpoints::read(fs, Path::new(LOGS)).unwrap();
        let (partition, topic_id) = (TopicPartition::new("t", 0), TopicId([id; 16]));
        let kinds = OffsetCheckpoint::ALL.iter();
        kinds
            .filter_map(|kind| {
                Some(checkpoints.offset(*kind, &partition, topic_id)).filter(Option::is_some)
            })
            .collect()
    }

    #[test]
    fn an_entry_counts_for_its_topic_only() {
        let fs = fs();
        let mut writer = CheckpointWriter::default();
        writer.write(&fs, Path::new(LOGS), &[], &[at(1, 7)]).unwrap();
        assert_eq!(read(&fs, 1), [Some(7); 4]);
        assert!(read(&fs, 2).is_empty());
    }

    #[test]
    fn names_are_believed_where_nothing_binds_them() {
        let fs = fs();
        let partition = TopicPartition::new("t", 0);
        let kind = OffsetCheckpoint::LogStart;
        kind.write(&fs, Path::new(LOGS), [(&partition, 9)].into_iter()).unwrap();
        assert_eq!(read(&fs, 1), [Some(9)]);
        CheckpointWriter::default().write(&fs, Path::new(LOGS), &[], &[at(1, 9)]).unwrap();
        assert!(read(&fs, 2).is_empty());
    }

    /// A topic is deleted, made again and made again; at every write the disk may fail, and at the
    /// end the power. The one that is there then is told no offset that it never had.
    #[test]
    fn no_end_lets_one_topic_speak_for_another() {
        for seed in 0..400u64 {
            let fs = fs();
            let mut writer = CheckpointWriter::default();
            writer.write(&fs, Path::new(LOGS), &[], &[]).unwrap();
            let steps = 1 + seed % 5;
            for step in 0..steps {
                let id = 1 + step as u8;
                let failing =
                    Faults { fail_syncs: ((seed >> 3) + step) as u32 % 9 / 8, ..Faults::default() };
                // Some later sync of the write, not always its first.
                let positions =
                    if seed & 4 == 0 { vec![at(id, 100 * Offset::from(id))] } else { Vec::new() };
                if (seed >> 5) % steps == step {
                    fs.set_faults(failing);
                }
                let kinds = [OffsetCheckpoint::HighWatermark];
                let _ = writer.write(&fs, Path::new(LOGS), &kinds, &positions);
                fs.set_faults(Faults::default());
                let again = at(id, 100 * Offset::from(id) + 1);
                let full = Some(fs.used_bytes() + seed % 90);
                fs.set_faults(Faults { capacity_bytes: full, ..Faults::default() });
                let _ = writer.write(&fs, Path::new(LOGS), &OffsetCheckpoint::ALL, &[again]);
                fs.set_faults(Faults::default());
            }
            fs.crash(&mut (seed + 1));
            for id in steps as u8..=steps as u8 + 1 {
                for offset in read(&fs, id).into_iter().flatten() {
                    assert_eq!(offset / 100, Offset::from(id), "seed {seed}");
                }
            }
        }
    }
}
