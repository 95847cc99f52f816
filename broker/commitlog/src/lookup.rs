//! Offsets by timestamp, for ListOffsets. The time index leads to a place at or before the record
//! and the batches from there are walked; only the one batch that holds the answer is read whole.
//! All of it works on a reader, without the owner's lock, since it may wait for the disk.

use std::sync::Arc;

use base::{LeaderEpoch, Offset, TimestampMs};
use record::{Batch, BatchHeader, DECOMPRESSED_BYTES_MAX, Record, records};

use crate::LogError;
use crate::access::{Access, into_log_error};
use crate::log::{Log, TimestampOffset};
use crate::read::LogReader;
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

    /// The record with the largest timestamp (the first of them) from the start of the log on.
    /// Blocks.
    pub fn offset_of_max_timestamp(&self) -> Result<Option<TimestampOffset>, LogError> {
        let start = self.start_offset();
        let mut newest = NO_TIMESTAMP;
        for segment in self.shared.segments().iter() {
            let whole = segment.max_timestamp();
            if whole <= newest {
                continue;
            }
            // Where the start lies within a segment, what that segment knows of itself may be
            // the timestamp of a record that is gone.
            newest = match segment.base_offset < start {
                true => newest.max(self.max_timestamp_from(segment, start)?),
                false => whole,
            };
        }
        match newest {
            NO_TIMESTAMP => Ok(None),
            timestamp => self.offset_for_timestamp(timestamp),
        }
    }

    /// The largest timestamp of the segment's records at and beyond `start`.
    fn max_timestamp_from(
        &self,
        segment: &Segment,
        start: Offset,
    ) -> Result<TimestampMs, LogError> {
        let (context, access) = (&self.shared.context, Access::Blocking);
        let first = segment.locate(start, context, access).map_err(into_log_error)?;
        let Some(first) = first else { return Ok(NO_TIMESTAMP) };
        let mut newest = NO_TIMESTAMP;
        if first.base_offset < start {
            self.each_record(segment, first, |record, _| {
                newest = newest.max(record.timestamp);
                false
            })?;
        }
        let note = |header: &BatchHeader| {
            if header.base_offset >= start {
                newest = newest.max(header.max_timestamp);
            }
            false
        };
        let walked = segment.walk_from(first.position, segment.size(), context, access, note);
        walked.map_err(into_log_error)?;
        Ok(newest)
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
        let mut found = None;
        self.each_record(segment, located, |record, leader_epoch| {
            let is_it = record.timestamp >= timestamp;
            if is_it {
                let (timestamp, offset) = (record.timestamp, record.offset);
                found = Some(TimestampOffset { timestamp, offset, leader_epoch });
            }
            is_it
        })?;
        Ok(found)
    }

    /// Visits the records of a batch from the start of the log on, until `visit` is content.
    fn each_record(
        &self,
        segment: &Segment,
        located: Located,
        mut visit: impl FnMut(&Record<'_>, LeaderEpoch) -> bool,
    ) -> Result<(), LogError> {
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
            if record.offset >= start && visit(&record, leader_epoch) {
                break;
            }
        }
        Ok(())
    }
}
