//! Names of the files of a log, as Kafka gives them (`LogFileUtils`).

use base::Offset;

pub(crate) const DELETED: &str = ".deleted";
pub(crate) const CLEANED: &str = ".cleaned";
pub(crate) const SWAP: &str = ".swap";

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

/// A rewrite of a segment that did not come into the log.
pub(crate) fn is_unfinished(name: &str) -> bool {
    name.ends_with(CLEANED) || name.ends_with(SWAP)
}

/// The name that a file had before it was deleted, replaced, or before it was whole.
pub(crate) fn original_name(name: &str) -> &str {
    for suffix in [CLEANED, SWAP] {
        if let Some(name) = name.strip_suffix(suffix) {
            return name;
        }
    }
    let Some(name) = name.strip_suffix(DELETED) else { return name };
    match name.rsplit_once('.') {
        Some((rest, number)) if number.parse::<u64>().is_ok() => rest,
        _ => name,
    }
}

/// The name without `.swap`.
pub(crate) fn swapped_name(name: &str) -> &str {
    name.strip_suffix(SWAP).unwrap_or(name)
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
        for ending in [".deleted", ".7.deleted", ".cleaned", ".swap"] {
            let name = format!("00000000000000000042.index{ending}");
            assert_eq!(original_name(&name), "00000000000000000042.index");
        }
    }
}
