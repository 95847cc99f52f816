//! Small files that are replaced as a whole: vote, purge mark, admission mark, directory id,
//! snapshot.
//!
//! Layout: magic (8 bytes), version (u32), length (u64), CRC-32C of the content (u32), content;
//! integers are little-endian. A file is written beside its place, synced, renamed over the old
//! one, and the directory is synced: at every moment one whole version is there.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;

use crate::fatal::{fatal_fsync, fatal_write};
use crate::formats::Unreadable;
use crate::persist::persist;

const HEADER_BYTES: usize = 24;
/// The largest content: a snapshot of a very large cluster.
const CONTENT_BYTES_MAX: u64 = 1 << 30;

/// What a file holds; the magic tells the kinds apart.
#[derive(Clone, Copy, Debug)]
pub struct Kind {
    pub magic: [u8; 8],
    pub version: u32,
}

pub const VOTE: Kind = Kind { magic: *b"BNBSVOTE", version: 1 };
pub const PURGED: Kind = Kind { magic: *b"BNBSPURG", version: 1 };
pub const ADMITTED: Kind = Kind { magic: *b"BNBSADMT", version: 1 };
pub const RETURNING: Kind = Kind { magic: *b"BNBSRETN", version: 1 };
pub const DIRECTORY: Kind = Kind { magic: *b"BNBSDIRC", version: 1 };
pub const SNAPSHOT: Kind = Kind { magic: *b"BNBSSNAP", version: 1 };

pub fn crc32c(bytes: &[u8]) -> u32 {
    // CRC-32C has 32 bits; the library's result type is wider.
    crc_fast::checksum(crc_fast::CrcAlgorithm::Crc32Iscsi, bytes) as u32
}

/// Replaces the file durably. A failure ends the process (see `fatal`), a full disk is waited for.
pub fn write(path: &Path, kind: Kind, content: &[u8]) {
    let mut header = [0u8; HEADER_BYTES];
    header[..8].copy_from_slice(&kind.magic);
    header[8..12].copy_from_slice(&kind.version.to_le_bytes());
    header[12..20].copy_from_slice(&(content.len() as u64).to_le_bytes());
    header[20..24].copy_from_slice(&crc32c(content).to_le_bytes());

    let beside = path.with_extension("tmp");
    let file = persist(&beside, || {
        let mut file = File::create(&beside)?;
        file.write_all(&header)?;
        file.write_all(content)?;
        Ok(file)
    });
    file.sync_all().unwrap_or_else(|e| fatal_fsync(&beside, &e));
    persist(path, || std::fs::rename(&beside, path));
    sync_dir_of(path);
}

/// Removes the file durably; it may be gone already.
pub fn remove(path: &Path) {
    match std::fs::remove_file(path) {
        Ok(()) => sync_dir_of(path),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => fatal_write(path, &error),
    }
}

/// Syncs the directory that holds `path`, so that a create, rename or unlink lasts.
pub fn sync_dir_of(path: &Path) {
    if let Some(dir) = path.parent() {
        let open = persist(dir, || File::open(dir));
        open.sync_all().unwrap_or_else(|e| fatal_fsync(dir, &e));
    }
}

/// The content, or `None` where no file is. Everything that is not a whole file of this kind is
/// an error: the rename made sure that it cannot be a crash's leftover.
pub fn read(path: &Path, kind: Kind) -> io::Result<Option<Vec<u8>>> {
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(e),
    };
    let invalid = |what: &str| {
        io::Error::new(io::ErrorKind::InvalidData, format!("{}: {what}", path.display()))
    };
    let mut header = [0u8; HEADER_BYTES];
    file.read_exact(&mut header).map_err(|_| invalid("the header is cut off"))?;
    if header[..8] != kind.magic {
        return Err(invalid("the magic is wrong"));
    }
    let word = |at: usize| {
        u32::from_le_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]])
    };
    if word(8) != kind.version {
        let why = format!("version {} of its format is not known", word(8));
        return Err(Unreadable::new(path.display(), why).into());
    }
    let len = u64::from(word(12)) | u64::from(word(16)) << 32;
    let actual = file.metadata()?.len().saturating_sub(HEADER_BYTES as u64);
    if len != actual || len > CONTENT_BYTES_MAX {
        return Err(invalid("the length is wrong"));
    }
    let mut content = Vec::with_capacity(len as usize);
    file.read_to_end(&mut content)?;
    if crc32c(&content) != word(20) {
        return Err(invalid("the checksum is wrong"));
    }
    Ok(Some(content))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_damaged_file_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("vote");
        assert!(read(&path, VOTE).unwrap().is_none());
        write(&path, VOTE, b"hello");
        assert_eq!(read(&path, VOTE).unwrap().unwrap(), b"hello");
        write(&path, VOTE, b"again");
        assert_eq!(read(&path, VOTE).unwrap().unwrap(), b"again");
        assert!(read(&path, PURGED).is_err());

        let whole = std::fs::read(&path).unwrap();
        for at in 0..whole.len() {
            let mut damaged = whole.clone();
            damaged[at] ^= 1;
            std::fs::write(&path, &damaged).unwrap();
            assert!(read(&path, VOTE).is_err(), "byte {at}");
            std::fs::write(&path, &whole[..at]).unwrap();
            assert!(read(&path, VOTE).is_err(), "cut at {at}");
        }
    }
}
