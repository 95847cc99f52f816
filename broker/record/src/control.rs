//! Control records: what brokers write into a log for each other, above all the markers that
//! end a transaction. Key: version and type; value of a marker: version and coordinator epoch.

use base::ProducerId;

use crate::{BatchBuilder, BatchOptions, Record};

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ControlType {
    Abort,
    Commit,
    /// A type this version does not know (such as KRaft's); it is skipped.
    Other(i16),
}

/// A decoded control record.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ControlRecord {
    pub kind: ControlType,
    /// Epoch of the transaction coordinator that wrote the marker; -1 on other types.
    pub coordinator_epoch: i32,
}

impl ControlRecord {
    /// `None` if key or value are not those of a control record.
    pub fn parse(record: &Record<'_>) -> Option<ControlRecord> {
        let (version, rest) = record.key?.split_first_chunk::<2>()?;
        let (kind, _) = rest.split_first_chunk::<2>()?;
        if i16::from_be_bytes(*version) < 0 {
            return None;
        }
        let kind = match i16::from_be_bytes(*kind) {
            0 => ControlType::Abort,
            1 => ControlType::Commit,
            other => {
                return Some(ControlRecord {
                    kind: ControlType::Other(other),
                    coordinator_epoch: -1,
                });
            }
        };
        let (_version, rest) = record.value?.split_first_chunk::<2>()?;
        let (epoch, _) = rest.split_first_chunk::<4>()?;
        Some(ControlRecord { kind, coordinator_epoch: i32::from_be_bytes(*epoch) })
    }
}

/// The control batch that ends a producer's transaction.
pub fn end_transaction_marker(
    producer_id: ProducerId,
    producer_epoch: i16,
    coordinator_epoch: i32,
    commit: bool,
    timestamp: i64,
) -> Vec<u8> {
    let options = BatchOptions {
        transactional: true,
        control: true,
        producer_id,
        producer_epoch,
        ..BatchOptions::default()
    };
    let key = [0, 0, 0, u8::from(commit)];
    let mut value = [0u8; 6];
    value[2..].copy_from_slice(&coordinator_epoch.to_be_bytes());
    let mut builder = BatchBuilder::new(options);
    builder.append(timestamp, Some(&key), Some(&value), &[]);
    builder.finish()
}
