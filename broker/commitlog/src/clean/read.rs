//! Reading a sealed segment batch by batch through one buffer, which grows for a batch that is
//! larger. Every batch is checked: what is damaged must not get a new checksum.

use std::sync::Arc;

use record::{Batch, BatchHeader, HEADER_BYTES};

use crate::fs::SegmentFile;
use crate::segment::Segment;
use crate::{LogContext, LogError};

pub(crate) struct BatchReader<'a> {
    segment: &'a Segment,
    file: Arc<SegmentFile>,
    /// Where the next batch begins.
    position: u64,
    size: u64,
    buf: Vec<u8>,
    /// What of the buffer holds the file from `buf_at` on.
    filled: usize,
    buf_at: u64,
}

impl<'a> BatchReader<'a> {
    pub fn new(
        segment: &'a Segment,
        position: u64,
        io_bytes: usize,
        context: &LogContext,
    ) -> Result<BatchReader<'a>, LogError> {
        let file = segment.open(context)?;
        let buf = vec![0; io_bytes.max(HEADER_BYTES)];
        let (size, buf_at) = (segment.size(), position);
        Ok(BatchReader { segment, file, position, size, buf, filled: 0, buf_at })
    }

    /// The next batch, and whether it is the segment's last; `None` at the end.
    pub fn next(&mut self) -> Result<Option<(Batch<'_>, bool)>, LogError> {
        if self.position >= self.size {
            return Ok(None);
        }
        self.fill(HEADER_BYTES)?;
        let header = BatchHeader::parse(self.at()).map_err(|e| self.corrupt(&e.to_string()))?;
        let size = header.size() as u64;
        if size > self.size - self.position {
            return Err(self.corrupt("the batch is cut off"));
        }
        self.fill(header.size())?;
        let at = (self.position - self.buf_at) as usize;
        let segment = self.segment;
        let corrupt = |why: String, position: u64| LogError::Corrupt {
            path: segment.log.path(),
            reason: format!("position {position}: {why}"),
        };
        let position = self.position;
        self.position += size;
        let bytes = &self.buf[at..self.filled];
        let batch = Batch::parse(bytes).map_err(|e| corrupt(e.to_string(), position))?;
        batch.check_crc().map_err(|e| corrupt(e.to_string(), position))?;
        Ok(Some((batch, self.position >= self.size)))
    }

    fn at(&self) -> &[u8] {
        &self.buf[(self.position - self.buf_at) as usize..self.filled]
    }

    fn corrupt(&self, reason: &str) -> LogError {
        let reason = format!("position {}: {reason}", self.position);
        LogError::Corrupt { path: self.segment.log.path(), reason }
    }

    /// Has at least so many bytes from the position on in the buffer.
    fn fill(&mut self, wanted: usize) -> Result<(), LogError> {
        let wanted = wanted.min((self.size - self.position) as usize);
        if self.at().len() >= wanted {
            return Ok(());
        }
        if self.buf.len() < wanted {
            self.buf.resize(wanted, 0);
        }
        let most = self.buf.len().min((self.size - self.position) as usize);
        let n = self
            .file
            .read_at(&mut self.buf[..most], self.position)
            .map_err(|e| LogError::io("read", &self.segment.log.path(), e))?;
        (self.filled, self.buf_at) = (n, self.position);
        if n < wanted {
            return Err(self.corrupt("the file ends within the segment"));
        }
        Ok(())
    }
}
