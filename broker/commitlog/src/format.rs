//! Names of files and directories, as Kafka gives them (`LogFileUtils`).

use base::{Offset, TopicPartition};

pub(crate) const DELETED: &str = ".deleted";
const CLEANED: &str = ".cleaned";
const SWAP: &str = ".swap";

/// The kinds of files named after an offset.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Suffix {
    Log,
    OffsetIndex,
    TimeIndex,
    TransactionIndex,
    ProducerSnapshot,
}

impl Suffix {
    pub fn text(self) -> &'static str {
        match self {
            Suffix::Log => ".log",
            Suffix::OffsetIndex => ".index",
            Suffix::TimeIndex => ".timeindex",
            Suffix::TransactionIndex => ".txnindex",
            Suffix::ProducerSnapshot => ".snapshot",
        }
    }
}

pub(crate) fn file_name(offset: Offset, suffix: Suffix) -> String {
    format!("{offset:020}{}", suffix.text())
}

/// What a name in a partition's directory stands for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Entry {
    Data(Offset, Suffix),
    /// Left behind by a deletion or an unfinished rewrite: to be removed.
    Leftover,
    /// A finished rewrite whose rename was cut short: `.swap` is to become the original.
    Swap,
    Other,
}

pub(crate) fn classify(name: &str) -> Entry {
    if name.ends_with(DELETED) || name.ends_with(CLEANED) || name.ends_with(".tmp") {
        return Entry::Leftover;
    }
    if name.ends_with(SWAP) {
        return Entry::Swap;
    }
    let Some((digits, suffix)) = name.split_at_checked(20) else { return Entry::Other };
    let known = [
        Suffix::Log,
        Suffix::OffsetIndex,
        Suffix::TimeIndex,
        Suffix::TransactionIndex,
        Suffix::ProducerSnapshot,
    ];
    match (digits.parse::<Offset>(), known.into_iter().find(|s| s.text() == suffix)) {
        (Ok(offset), Some(suffix)) if offset >= 0 => Entry::Data(offset, suffix),
        _ => Entry::Other,
    }
}

/// The name without `.swap`.
pub(crate) fn swapped_name(name: &str) -> &str {
    name.strip_suffix(SWAP).unwrap_or(name)
}

/// What a directory in a log directory is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum PartitionDir {
    Live(TopicPartition),
    /// `<topic>-<partition>.<uuid>-delete`: to be removed.
    Deleted,
    /// `-future` and `-stray` directories, and whatever is not ours: left alone.
    Other,
}

pub fn classify_dir(name: &str) -> PartitionDir {
    if name.ends_with("-delete") {
        return PartitionDir::Deleted;
    }
    let parsed = name.rsplit_once('-').and_then(|(topic, partition)| {
        let number = partition.parse::<i32>().ok().filter(|p| *p >= 0)?;
        // Only the canonical spelling: "-01" or "-+1" is not a partition of ours.
        (number.to_string() == partition && is_name(topic))
            .then(|| TopicPartition::new(topic, number))
    });
    parsed.map_or(PartitionDir::Other, PartitionDir::Live)
}

fn is_name(topic: &str) -> bool {
    !topic.is_empty()
        && topic.len() <= base::limits::TOPIC_NAME_BYTES_MAX
        && topic.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
}

/// The name under which a partition's directory waits for its removal; `unique` is 32 hex digits.
/// Cut so that the name stays within 255 bytes, as Kafka does.
pub fn deleted_dir_name(partition: &TopicPartition, unique: &str) -> String {
    let name = partition.to_string();
    let suffix_len = unique.len() + 1 + "-delete".len();
    let kept = name.len().min(255usize.saturating_sub(suffix_len));
    format!("{}.{unique}-delete", &name[..kept])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_kafkas() {
        assert_eq!(file_name(42, Suffix::Log), "00000000000000000042.log");
        let entry = classify("00000000000000000042.timeindex");
        assert_eq!(entry, Entry::Data(42, Suffix::TimeIndex));
        assert_eq!(classify("00000000000000000042.log.deleted"), Entry::Leftover);
        assert_eq!(classify("00000000000000000042.log.swap"), Entry::Swap);
        assert_eq!(classify("leader-epoch-checkpoint"), Entry::Other);
        assert_eq!(classify("-0000000000000000042.log"), Entry::Other);
    }

    #[test]
    fn directories_are_told_apart() {
        let live = |topic: &str, n| PartitionDir::Live(TopicPartition::new(topic, n));
        assert_eq!(classify_dir("a-b.c-7"), live("a-b.c", 7));
        assert_eq!(classify_dir("__consumer_offsets-49"), live("__consumer_offsets", 49));
        assert_eq!(classify_dir("a-07"), PartitionDir::Other);
        assert_eq!(classify_dir("-7"), PartitionDir::Other);
        assert_eq!(classify_dir("lost+found"), PartitionDir::Other);
        let partition = TopicPartition::new("t".repeat(249), 3);
        let name = deleted_dir_name(&partition, &"0".repeat(32));
        assert_eq!(name.len(), 255);
        assert_eq!(classify_dir(&name), PartitionDir::Deleted);
    }
}
