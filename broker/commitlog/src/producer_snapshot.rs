//! `.snapshot`: the producer state at an offset, which is the file's name. Written after the data
//! below that offset was synced, and synced itself, so that an intact snapshot vouches for all
//! data below it. Version, CRC-32C of what follows, count, then 46 bytes per producer.

use std::io::IoSlice;
use std::path::Path;

use base::Offset;
use record::crc::crc32c;

use crate::LogError;
use crate::format::{Suffix, file_name};
use crate::fs::{Fs, OpenMode};
use crate::producer_state::{BatchMetadata, ProducerEntry, ProducerState};

const VERSION: i16 = 1;
const HEADER_BYTES: usize = 10;
const CRC_AT: usize = 2;
const CHECKED_FROM: usize = 6;
const ENTRY_BYTES: usize = 46;

pub(crate) fn encode(state: &ProducerState) -> Vec<u8> {
    let entries = state.entries();
    let mut out = Vec::with_capacity(HEADER_BYTES + entries.len() * ENTRY_BYTES);
    out.extend_from_slice(&VERSION.to_be_bytes());
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(&(entries.len() as i32).to_be_bytes());
    for (id, entry) in entries {
        let last = entry.last_batch();
        out.extend_from_slice(&id.to_be_bytes());
        out.extend_from_slice(&entry.epoch.to_be_bytes());
        out.extend_from_slice(&last.map_or(-1, |b| b.last_sequence).to_be_bytes());
        out.extend_from_slice(&last.map_or(-1, |b| b.last_offset).to_be_bytes());
        out.extend_from_slice(&last.map_or(0, |b| b.offset_delta).to_be_bytes());
        out.extend_from_slice(&entry.last_timestamp.to_be_bytes());
        out.extend_from_slice(&entry.coordinator_epoch.to_be_bytes());
        out.extend_from_slice(&entry.txn_first_offset.unwrap_or(-1).to_be_bytes());
    }
    let crc = crc32c(&out[CHECKED_FROM..]);
    out[CRC_AT..CHECKED_FROM].copy_from_slice(&crc.to_be_bytes());
    out
}

/// `None` if the bytes are not an intact snapshot.
pub(crate) fn decode(bytes: &[u8]) -> Option<ProducerState> {
    let mut fields = Fields(bytes);
    if fields.take::<2>().map(i16::from_be_bytes)? != VERSION {
        return None;
    }
    if fields.take::<4>().map(u32::from_be_bytes)? != crc32c(fields.0) {
        return None;
    }
    let count = fields.take::<4>().map(i32::from_be_bytes)?;
    if usize::try_from(count).ok()?.checked_mul(ENTRY_BYTES)? != fields.0.len() {
        return None;
    }
    let mut state = ProducerState::default();
    for _ in 0..count {
        let id = fields.take().map(i64::from_be_bytes)?;
        let mut entry = ProducerEntry::new();
        entry.set_epoch(fields.take().map(i16::from_be_bytes)?);
        let batch = BatchMetadata {
            last_sequence: fields.take().map(i32::from_be_bytes)?,
            last_offset: fields.take().map(i64::from_be_bytes)?,
            offset_delta: fields.take().map(i32::from_be_bytes)?,
            timestamp: fields.take().map(i64::from_be_bytes)?,
        };
        if batch.last_sequence >= 0 {
            entry.push(batch);
        }
        entry.last_timestamp = batch.timestamp;
        entry.coordinator_epoch = fields.take().map(i32::from_be_bytes)?;
        let first = fields.take().map(i64::from_be_bytes)?;
        entry.txn_first_offset = (first >= 0).then_some(first);
        state.insert(id, entry);
    }
    Some(state)
}

struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (head, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*head)
    }
}

/// Writes and syncs; the directory is the caller's to sync.
pub(crate) fn write(fs: &dyn Fs, dir: &Path, offset: Offset, bytes: &[u8]) -> Result<(), LogError> {
    let path = dir.join(file_name(offset, Suffix::ProducerSnapshot));
    let file = fs.open(&path, OpenMode::Create).map_err(|e| LogError::io("create", &path, e))?;
    file.set_len(0).map_err(|e| LogError::io("truncate", &path, e))?;
    file.write_all_at(&[IoSlice::new(bytes)], 0).map_err(|e| LogError::io("write", &path, e))?;
    file.sync().map_err(|source| LogError::Fsync { path, source })
}

/// Unlinks; a missing file is fine.
pub(crate) fn remove(fs: &dyn Fs, dir: &Path, offset: Offset) -> Result<(), LogError> {
    let path = dir.join(file_name(offset, Suffix::ProducerSnapshot));
    match fs.remove_file(&path) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(LogError::io("remove", &path, e)),
        _ => Ok(()),
    }
}

/// The state at `offset`; `None` if the file is missing or damaged.
pub(crate) fn read(
    fs: &dyn Fs,
    dir: &Path,
    offset: Offset,
) -> Result<Option<ProducerState>, LogError> {
    let path = dir.join(file_name(offset, Suffix::ProducerSnapshot));
    Ok(crate::checkpoint::read_file(fs, &path)?.and_then(|bytes| decode(&bytes)))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_snapshot_keeps_the_newest_batch_and_the_open_transaction() {
        let mut state = ProducerState::default();
        let mut entry = ProducerEntry::new();
        entry.set_epoch(3);
        entry.coordinator_epoch = 5;
        let batch =
            BatchMetadata { last_sequence: 9, last_offset: 30, offset_delta: 4, timestamp: 77 };
        entry.push(batch);
        entry.txn_first_offset = Some(20);
        state.insert(42, entry);
        let mut bytes = encode(&state);
        assert_eq!(bytes.len(), HEADER_BYTES + ENTRY_BYTES);
        assert_eq!(decode(&bytes), Some(state));
        bytes[20] ^= 1;
        assert_eq!(decode(&bytes), None);
        assert_eq!(decode(&bytes[..30]), None);
        assert_eq!(decode(&[]), None);
    }
}
