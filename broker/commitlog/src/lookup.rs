//! Offsets by timestamp, for ListOffsets. The time index leads to a place at or before the record
//! and the batches from there are walked; only the one batch that holds the answer is read whole.
//! All of it works on a reader, without the owner's lock, since it may wait for the disk.

use std::sync::Arc;

use base::TimestampMs;
use record::{Batch, DECOMPRESSED_BYTES_MAX, records};

use crate::LogError;
use crate::log::{Log, TimestampOffset};
use crate::read::{Access, LogReader, into_log_error};
use crate::segment::{Located, NO_TIMESTAMP, Segment};

impl Log {
    /// As [`LogReader::offset_for_timestamp`].
    pub fn offset_for_timestamp(
        &self,
        timestamp: TimestampMs,
    ) -> Result<Option<TimestampOffset>, LogError> {
        self.reader().offset_for_timestamp(timestamp)
    }

    /// As [`LogReader::offset_of_max_timestamp`].
    pub fn offset_of_max_timestamp(&self) -> Result<Option<TimestampOffset>, LogError> {
        self.reader().offset_of_max_timestamp()
    }
}

impl LogReader {
    /// The first record with a timestamp at or after `timestamp`. Blocks.
    pub fn offset_for_timestamp(
        &self,
        timestamp: TimestampMs,
    ) -> Result<Option<TimestampOffset>, LogError> {
        for segment in self.shared.segments().iter() {
            if segment.max_timestamp() < timestamp || segment.size() == 0 {
                continue;
            }
            if let Some(found) = self.find_in(segment, timestamp)? {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    /// The record with the largest timestamp (the first of them). Blocks.
    pub fn offset_of_max_timestamp(&self) -> Result<Option<TimestampOffset>, LogError> {
        let segments = self.shared.segments();
        let newest = segments.iter().map(|segment| segment.max_timestamp()).max();
        match newest {
            Some(timestamp) if timestamp > NO_TIMESTAMP => self.offset_for_timestamp(timestamp),
            _ => Ok(None),
        }
    }

    fn find_in(
        &self,
        segment: &Arc<Segment>,
        timestamp: TimestampMs,
    ) -> Result<Option<TimestampOffset>, LogError> {
        let (context, access) = (&self.shared.context, Access::Blocking);
        let start = self.start_offset();
        let error = |e| LogError::io("read", &segment.time_index.file().path(), e);
        // Everything up to the entry's offset is older than the timestamp, except equal ones.
        let floor = segment.time_index.floor(timestamp - 1, context, access).map_err(error)?;
        let from = floor.map_or(0, |entry| i64::from(entry.offset)) + segment.base_offset;
        let Some(first) =
            segment.locate(from.max(start), context, access).map_err(into_log_error)?
        else {
            return Ok(None);
        };
        let mut position = first.position;
        let size = segment.size();
        loop {
            let batch = segment
                .walk_from(position, size, context, access, |header| {
                    header.max_timestamp >= timestamp && header.last_offset() >= start
                })
                .map_err(into_log_error)?;
            let Some(batch) = batch else { return Ok(None) };
            if let Some(found) = self.find_in_batch(segment, batch, timestamp)? {
                return Ok(Some(found));
            }
            position = batch.position + batch.size as u64;
        }
    }

    fn find_in_batch(
        &self,
        segment: &Segment,
        located: Located,
        timestamp: TimestampMs,
    ) -> Result<Option<TimestampOffset>, LogError> {
        let path = || segment.log.path();
        let mut bytes = vec![0; located.size];
        let file = segment.open(&self.shared.context)?;
        let n = file
            .read_at(&mut bytes, located.position)
            .map_err(|e| LogError::io("read", &path(), e))?;
        let corrupt = |reason: String| LogError::Corrupt { path: path(), reason };
        let batch = Batch::parse(&bytes[..n]).map_err(|e| corrupt(e.to_string()))?;
        let records =
            records(&batch, DECOMPRESSED_BYTES_MAX).map_err(|e| corrupt(e.to_string()))?;
        let leader_epoch = batch.header.leader_epoch;
        let start = self.start_offset();
        for record in records.iter() {
            let record = record.map_err(|e| corrupt(e.to_string()))?;
            if record.timestamp >= timestamp && record.offset >= start {
                let (timestamp, offset) = (record.timestamp, record.offset);
                return Ok(Some(TimestampOffset { timestamp, offset, leader_epoch }));
            }
        }
        Ok(None)
    }
}
