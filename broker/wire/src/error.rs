//! What can be wrong with bytes from a peer (`DecodeError`) and with a message that shall be sent
//! in a version that cannot carry it (`EncodeError`).

/// The bytes are not a message of the version they claim to be. The connection they came from is
/// closed: nothing after them can be trusted.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum DecodeError {
    #[error("{needed} more bytes expected, {remaining} left")]
    Truncated { needed: usize, remaining: usize },
    #[error("a varint is longer than its type")]
    VarintTooLong,
    #[error("{field}: null in a version that does not allow it")]
    UnexpectedNull { field: &'static str },
    #[error("length {length} is negative")]
    NegativeLength { length: i64 },
    #[error("a string of {length} bytes exceeds 32767")]
    StringTooLong { length: usize },
    #[error("an array of {count} elements does not fit into the {remaining} bytes left")]
    CountTooLarge { count: usize, remaining: usize },
    #[error("an array of {count} elements exceeds 1000000")]
    TooManyElements { count: usize },
    #[error("{count} tagged fields exceed 10000")]
    TooManyTags { count: u32 },
    #[error("the values take more than {memory_max} bytes of memory")]
    TooMuchMemory { memory_max: usize },
    #[error("tag {tag} is not above the tag before it")]
    TagOrder { tag: u32 },
    #[error("{field}: tag {tag} is not defined in version {version}")]
    TagVersion { field: &'static str, tag: u32, version: i16 },
    #[error("tag {tag}: the field ends {unread} bytes before its declared size")]
    TagSize { tag: u32, unread: usize },
    #[error("api key {key} is unknown")]
    UnknownApiKey { key: i16 },
    #[error("{message}: version {version} is not supported")]
    UnsupportedVersion { message: &'static str, version: i16 },
}

/// The message cannot be expressed in the version asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum EncodeError {
    #[error("{field} is set, but version {version} does not carry it")]
    UnsupportedField { field: &'static str, version: i16 },
    #[error("{field} is null, which version {version} does not allow")]
    UnexpectedNull { field: &'static str, version: i16 },
    #[error("a string of {length} bytes exceeds 32767")]
    StringTooLong { length: usize },
    #[error("{length} bytes or elements exceed what a length field can carry")]
    TooLarge { length: usize },
    #[error("{message}: version {version} is not supported")]
    UnsupportedVersion { message: &'static str, version: i16 },
}
