//! `.txnindex`: the aborted transactions that end in a segment, for consumers that read only
//! committed data. Rare, so nothing is kept in memory but whether there are any.

use std::io::{self, IoSlice};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use base::{Offset, ProducerId};

use crate::access::{Access, ReadError, read_error};
use crate::fs::{LazyFile, SegmentFile};
use crate::{LogContext, LogError};

const ENTRY_BYTES: usize = 34;
const VERSION: i16 = 0;

/// One entry, ordered by `last_offset`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct AbortedTxn {
    pub producer_id: ProducerId,
    pub first_offset: Offset,
    /// Offset of the abort marker.
    pub last_offset: Offset,
    /// Where the last stable offset stood once this transaction was decided.
    pub last_stable_offset: Offset,
}

impl AbortedTxn {
    pub(crate) fn encode(&self) -> [u8; ENTRY_BYTES] {
        let mut out = [0; ENTRY_BYTES];
        out[..2].copy_from_slice(&VERSION.to_be_bytes());
        let fields =
            [self.producer_id, self.first_offset, self.last_offset, self.last_stable_offset];
        for (i, field) in fields.into_iter().enumerate() {
            out[2 + 8 * i..10 + 8 * i].copy_from_slice(&field.to_be_bytes());
        }
        out
    }

    /// `None` for a version that does not exist.
    fn decode(bytes: &[u8]) -> Option<AbortedTxn> {
        let field = |i: usize| {
            let at = 2 + 8 * i;
            bytes.get(at..at + 8)?.try_into().ok().map(i64::from_be_bytes)
        };
        if bytes.get(..2)? != VERSION.to_be_bytes() {
            return None;
        }
        Some(AbortedTxn {
            producer_id: field(0)?,
            first_offset: field(1)?,
            last_offset: field(2)?,
            last_stable_offset: field(3)?,
        })
    }
}

#[derive(Debug)]
pub(crate) struct AbortedIndex {
    file: Arc<LazyFile>,
    count: AtomicUsize,
}

impl AbortedIndex {
    pub fn new(file: Arc<LazyFile>) -> AbortedIndex {
        AbortedIndex { file, count: AtomicUsize::new(0) }
    }

    pub fn file(&self) -> &Arc<LazyFile> {
        &self.file
    }

    /// Takes over a file that was written whole.
    pub fn adopt(&self, count: usize) {
        self.count.store(count, Ordering::Release);
    }

    pub fn is_empty(&self) -> bool {
        self.count.load(Ordering::Acquire) == 0
    }

    fn error(&self, operation: &'static str, error: io::Error) -> LogError {
        LogError::io(operation, &self.file.path(), error)
    }

    pub fn append(&self, txn: &AbortedTxn, context: &LogContext) -> Result<(), LogError> {
        let count = self.count.load(Ordering::Relaxed);
        let file =
            self.file.create(&*context.fs, &context.files).map_err(|e| self.error("create", e))?;
        file.write_all_at(&[IoSlice::new(&txn.encode())], (count * ENTRY_BYTES) as u64)
            .map_err(|e| self.error("write", e))?;
        self.count.store(count + 1, Ordering::Release);
        Ok(())
    }

    /// All entries; an error if one is missing, for who reads without it takes aborted records for
    /// committed ones.
    pub fn read(&self, context: &LogContext, access: Access) -> Result<Vec<AbortedTxn>, ReadError> {
        let count = self.count.load(Ordering::Acquire);
        if count == 0 {
            return Ok(Vec::new());
        }
        let file =
            access.open(&self.file, context).map_err(|e| read_error(e, "open", &self.file))?;
        let mut bytes = vec![0; count * ENTRY_BYTES];
        let n = access.read(&file, &mut bytes, 0).map_err(|e| read_error(e, "read", &self.file))?;
        if n < bytes.len() && access == Access::Resident {
            return Err(ReadError::WouldBlock);
        }
        let entries = AbortedIndex::entries(&bytes[..n]);
        if entries.len() < count {
            let reason = format!("{} of {count} aborted transactions", entries.len());
            return Err(LogError::Corrupt { path: self.file.path(), reason }.into());
        }
        Ok(entries)
    }

    /// Up to the first that cannot be one.
    fn entries(bytes: &[u8]) -> Vec<AbortedTxn> {
        bytes.chunks_exact(ENTRY_BYTES).map_while(AbortedTxn::decode).collect()
    }

    fn open(&self, context: &LogContext) -> io::Result<Arc<SegmentFile>> {
        self.file.get(&*context.fs, &context.files)
    }

    /// Takes over what the file holds of transactions that ended below `end`; drops the rest.
    pub fn load(&self, end: Offset, context: &LogContext) -> Result<(), LogError> {
        let file = match self.open(context) {
            Ok(file) => file,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(e) => return Err(self.error("open", e)),
        };
        let len = file.len().map_err(|e| self.error("stat", e))?;
        let mut bytes = vec![0; len as usize];
        let n = file.read_at(&mut bytes, 0).map_err(|e| self.error("read", e))?;
        let kept = AbortedIndex::entries(&bytes[..n]);
        let kept = kept.iter().take_while(|txn| txn.last_offset < end).count();
        self.count.store(kept, Ordering::Release);
        if kept * ENTRY_BYTES != len as usize {
            file.set_len((kept * ENTRY_BYTES) as u64).map_err(|e| self.error("truncate", e))?;
        }
        Ok(())
    }
}
