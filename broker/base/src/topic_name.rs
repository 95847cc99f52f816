//! The only place that knows which names topics may have, and which of them are the brokers' own.
//! Every name that passes `check_new` is safe as the name of a directory: it has no separator and
//! is neither `.` nor `..`.

use std::fmt;

use crate::limits::TOPIC_NAME_BYTES_MAX;

/// The committed offsets of consumer groups.
pub const OFFSETS: &str = "__consumer_offsets";
/// The transactional ids and their transactions.
pub const TRANSACTIONS: &str = "__transaction_state";
/// Kafka's name for the log of the metadata quorum. Requests about the quorum use it, but no topic
/// has it: in Kafka's layout its directory is the quorum's.
pub const METADATA: &str = "__cluster_metadata";

/// Why a topic cannot be created under a name; the text is for the user.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum NameError {
    Empty,
    /// `.` or `..`.
    Dots(String),
    TooLong(String),
    BadCharacter(String),
    /// The name stands for something that is no topic.
    Reserved(String),
}

impl fmt::Display for NameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Topic name is invalid: ")?;
        match self {
            NameError::Empty => f.write_str("the empty string is not allowed"),
            NameError::Dots(name) => write!(f, "'{name}' is not allowed"),
            NameError::TooLong(name) => write!(
                f,
                "the length of '{name}' is longer than the max allowed length \
                 {TOPIC_NAME_BYTES_MAX}"
            ),
            NameError::BadCharacter(name) => write!(
                f,
                "'{name}' contains one or more characters other than ASCII alphanumerics, '.', \
                 '_' and '-'"
            ),
            NameError::Reserved(name) => {
                write!(f, "'{name}' is reserved for the metadata of the brokers")
            }
        }
    }
}

impl std::error::Error for NameError {}

/// Whether a topic may be created under this name.
pub fn check_new(name: &str) -> Result<(), NameError> {
    check(name)?;
    if is_reserved(name) { Err(NameError::Reserved(name.to_owned())) } else { Ok(()) }
}

/// Kafka's rules for the names of topics (`Topic.validate`).
pub fn check(name: &str) -> Result<(), NameError> {
    let legal = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
    let error = match name {
        "" => return Err(NameError::Empty),
        "." | ".." => NameError::Dots,
        _ if name.len() > TOPIC_NAME_BYTES_MAX => NameError::TooLong,
        _ if !name.bytes().all(legal) => NameError::BadCharacter,
        _ => return Ok(()),
    };
    Err(error(name.to_owned()))
}

/// No topic has such a name, whoever asks for it.
pub fn is_reserved(name: &str) -> bool {
    name == METADATA
}

/// Whether Kafka treats the topic as its own.
pub fn is_internal(name: &str) -> bool {
    matches!(name, OFFSETS | TRANSACTIONS | "__share_group_state")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_kafkas_rules() {
        let longest = "x".repeat(TOPIC_NAME_BYTES_MAX);
        for name in ["a", "a-b_c.D9", "...", "-", OFFSETS, "__cluster_metadata_2", &longest] {
            assert_eq!(check_new(name), Ok(()), "{name}");
        }
        let too_long = "x".repeat(TOPIC_NAME_BYTES_MAX + 1);
        for name in ["", ".", "..", &too_long, "a/b", "a b", "\u{fc}", "a\0"] {
            assert!(check(name).is_err(), "{name}");
        }
    }

    #[test]
    fn the_quorums_name_is_no_topics() {
        assert_eq!(check_new(METADATA), Err(NameError::Reserved(METADATA.to_owned())));
        // Requests about the quorum may still say it.
        assert_eq!(check(METADATA), Ok(()));
        assert!(!is_internal(METADATA), "clients would list it among the topics");
    }
}
