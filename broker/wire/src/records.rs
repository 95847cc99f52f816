//! Record data in responses: bytes in memory or a range of a segment file, so that the connection
//! can hand the range to the kernel instead of copying it through the process.

use std::any::Any;
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;

/// A range of a file that follows in the response. `file` is whatever the sender of the parts
/// knows how to send (the broker downcasts it to its segment file); this crate never opens it.
#[derive(Clone)]
pub struct FileRange {
    pub file: Arc<dyn Any + Send + Sync>,
    pub position: u64,
    pub len: usize,
}

impl fmt::Debug for FileRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FileRange({} bytes at {})", self.len, self.position)
    }
}

/// Same file handle, same range; the contents are not compared.
impl PartialEq for FileRange {
    fn eq(&self, other: &FileRange) -> bool {
        Arc::ptr_eq(&self.file, &other.file)
            && (self.position, self.len) == (other.position, other.len)
    }
}

/// A piece of an encoded message, in sending order.
#[derive(Clone, PartialEq, Debug)]
pub enum Part {
    Bytes(Bytes),
    File(FileRange),
}

impl Part {
    pub fn len(&self) -> usize {
        match self {
            Part::Bytes(bytes) => bytes.len(),
            Part::File(range) => range.len,
        }
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// The records field of a response. Decoding yields `None` or `Bytes` (a slice of the frame).
///
/// A broker answers "nothing to read" with empty `Bytes`: some clients do not expect null there.
#[derive(Clone, PartialEq, Debug, Default)]
pub enum Records {
    #[default]
    None,
    Bytes(Bytes),
    File(FileRange),
    /// Pieces that follow each other, e.g. the end of one segment and the start of the next.
    Many(Vec<Part>),
}

impl Records {
    /// No records, as a broker says it: present and empty.
    pub fn empty() -> Records {
        Records::Bytes(Bytes::new())
    }

    /// Bytes on the wire; 0 for `None`.
    pub fn len(&self) -> usize {
        match self {
            Records::None => 0,
            Records::Bytes(bytes) => bytes.len(),
            Records::File(range) => range.len,
            Records::Many(parts) => parts.iter().map(Part::len).sum(),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The bytes, if they are in memory in one piece (always so after decoding).
    pub fn into_bytes(self) -> Option<Bytes> {
        match self {
            Records::None => Some(Bytes::new()),
            Records::Bytes(bytes) => Some(bytes),
            Records::File(_) | Records::Many(_) => None,
        }
    }
}

impl From<Bytes> for Records {
    fn from(bytes: Bytes) -> Records {
        Records::Bytes(bytes)
    }
}

impl From<FileRange> for Records {
    fn from(range: FileRange) -> Records {
        Records::File(range)
    }
}
