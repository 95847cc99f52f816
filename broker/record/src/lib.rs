//! The record batch v2: its header, records and compression, viewed in place and never copied
//! where a view will do. Shared by the wire, the log and clients; holds no IO, clock or lock.

mod batch;
mod builder;
mod compression;
mod control;
pub mod crc;
mod record;
mod retain;
mod validate;
pub mod varint;
mod walk;

pub use batch::{
    Attributes, Batch, BatchError, BatchHeader, Batches, HEADER_BYTES, LENGTH_OVERHEAD, MAGIC,
    NO_PRODUCER_ID, NO_SEQUENCE, NO_TIMESTAMP, TimestampType, batches, sequence_add,
};
pub use builder::{BatchBuilder, BatchOptions, HeaderRef};
pub use compression::{Compression, Decompressor, LimitExceeded, compress, decompress};
pub use control::{ControlRecord, ControlType, end_transaction_marker};
pub use record::{Record, RecordError, RecordHeaders, Records, records};
pub use retain::{retain, without_records};
pub use validate::{
    DECOMPRESSED_BYTES_MAX, Effort, Invalid, InvalidRecord, Origin, Rules, TargetCompression,
    Verdict, validate, validate_bytes, validate_header, validate_within,
};
