//! Loading a shard: replay of its partition's log from the start to the end that it has when the
//! leadership begins. Nobody else appends to it, so that end does not move.

use std::io;

use base::{Offset, ProducerId};
use bytes::Bytes;
use commitlog::{Access, FetchSlice, ReadError};
use coordinator::Shard;
use record::{BatchError, ControlRecord, ControlType, DECOMPRESSED_BYTES_MAX};

use storage::partition::Partition;

/// Bytes read at a time, unless one batch is larger.
const CHUNK_BYTES: usize = 1 << 20;

#[derive(thiserror::Error, Debug)]
pub(super) enum LoadShardError {
    #[error("read the log: {0}")]
    Read(#[from] ReadError),
    #[error("read a segment: {0}")]
    Segment(#[from] io::Error),
    #[error("batch at offset {0} is damaged")]
    Damaged(Offset),
}

/// Reads the whole log into a new shard; returns it with the log's end. Waits for the disk.
pub(super) fn load<S: Shard>(
    partition: &Partition,
    config: S::Config,
) -> Result<(S, Offset), LoadShardError> {
    let reader = partition.reader();
    let end = reader.end_offset();
    let mut shard = S::new(config);
    let mut next = reader.start_offset();
    let mut chunk = Vec::new();
    while next < end {
        let Some(slice) = reader.read(next, CHUNK_BYTES, end, true, Access::Blocking)? else {
            break;
        };
        read_slice(&slice, &mut chunk)?;
        let after = replay_chunk(&mut shard, &chunk, next)?;
        if after <= next {
            return Err(LoadShardError::Damaged(next));
        }
        next = after;
    }
    Ok((shard, end))
}

fn read_slice(slice: &FetchSlice, chunk: &mut Vec<u8>) -> io::Result<()> {
    chunk.resize(slice.len, 0);
    let mut filled = 0;
    while filled < chunk.len() {
        match slice.file.read_at(&mut chunk[filled..], slice.position + filled as u64)? {
            0 => break,
            read => filled += read,
        }
    }
    chunk.truncate(filled);
    Ok(())
}

/// Replays the whole batches of a chunk; returns the offset after the last of them.
fn replay_chunk<S: Shard>(
    shard: &mut S,
    chunk: &[u8],
    from: Offset,
) -> Result<Offset, LoadShardError> {
    let mut next = from;
    for batch in record::batches(chunk) {
        let batch = match batch {
            Ok(batch) => batch,
            // The chunk ends within a batch, which begins the next one.
            Err(BatchError::Truncated { .. }) => break,
            Err(_) => return Err(LoadShardError::Damaged(next)),
        };
        batch.check_crc().map_err(|_| LoadShardError::Damaged(next))?;
        next = batch.header.next_offset();
        let damaged = |_| LoadShardError::Damaged(batch.header.base_offset);
        let records = record::records(&batch, DECOMPRESSED_BYTES_MAX).map_err(damaged)?;
        let (producer, is_control) = (batch.header.producer_id, batch.header.is_control());
        let producer = batch.header.is_transactional().then_some(producer);
        for record in records.iter() {
            let record = record.map_err(damaged)?;
            if record.offset < from {
                continue;
            }
            match (ControlRecord::parse(&record).filter(|_| is_control), producer) {
                (Some(marker), Some(producer)) => match marker.kind {
                    ControlType::Commit => shard.load_end(producer, true),
                    ControlType::Abort => shard.load_end(producer, false),
                    ControlType::Other(_) => {}
                },
                _ if is_control => {}
                _ => replay(shard, record.offset, producer, record.key, record.value),
            }
        }
    }
    Ok(next)
}

fn replay<S: Shard>(
    shard: &mut S,
    offset: Offset,
    transaction_of: Option<ProducerId>,
    key: Option<&[u8]>,
    value: Option<&[u8]>,
) {
    let Some(key) = key else { return };
    let value = value.map(Bytes::copy_from_slice);
    let key = Bytes::copy_from_slice(key);
    let loaded = match transaction_of {
        Some(producer) => shard.load_in_transaction(producer, key, value),
        None => shard.load(key, value),
    };
    if let Err(error) = loaded {
        // One record cannot be understood: what the others say is served all the same.
        tracing::error!(offset, %error, "skip a record of {}", S::TOPIC);
    }
}
