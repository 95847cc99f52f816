//! Where the quorum's files lie: in a directory that no partition can have. The name of a
//! partition's directory ends with `-` and a number, and ours does not.
//!
//! Up to version 0.1 they lay in `__cluster_metadata-0`, which is what a topic of that name would
//! have. Such a directory is moved, by one rename:
//!
//! | former place            | place  | done                                                     |
//! |-------------------------|--------|----------------------------------------------------------|
//! | files of the quorum     | none   | renamed                                                  |
//! | files of the quorum     | exists | refused: nobody can know which of the two voted last     |
//! | something else          | any    | left alone, with a warning                               |
//! | nothing                 | any    | a file is put there                                      |
//!
//! That file keeps a broker of version 0.1 from starting, which would otherwise find no metadata
//! there, and could begin a new, empty cluster over the partitions of this one.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use crate::log::atomic_file::sync_dir_of;

const DIR: &str = "__cluster_metadata.quorum";
const FORMER_DIR: &str = "__cluster_metadata-0";
/// All files of version 0.1 that tell what they are begin so.
const FORMER_MAGIC: [u8; 4] = *b"BNBS";
const FORMER_FILES: [&str; 5] = ["vote", "purged", "snapshot", "admitted", "returning"];
const FORMER_SUFFIX: &str = ".entries";
const NOTE: &str = "The metadata of this broker is in __cluster_metadata.quorum. \
                    This file keeps older versions from beginning a new cluster here.\n";

/// The directory of the quorum's files in `log_dir`, once what an earlier version wrote is there.
/// It may not exist yet.
pub fn settle(log_dir: &Path) -> io::Result<PathBuf> {
    fs::create_dir_all(log_dir)?;
    let (place, former) = (log_dir.join(DIR), log_dir.join(FORMER_DIR));
    if !former.is_dir() {
        leave_note(&former);
        return Ok(place);
    }
    if !holds_quorum(&former)? {
        let dir = former.display();
        tracing::warn!(%dir, "directory has the former name of the metadata and is left alone");
        return Ok(place);
    }
    if place.exists() {
        let what = format!(
            "both {} and {} hold metadata of the quorum: move the older of them away",
            former.display(),
            place.display()
        );
        return Err(io::Error::new(io::ErrorKind::AlreadyExists, what));
    }
    fs::rename(&former, &place)?;
    // Nothing may be written before the move is durable, or a loss of power would undo it.
    sync_dir_of(&place);
    tracing::info!(from = FORMER_DIR, to = DIR, "moved the metadata");
    leave_note(&former);
    Ok(place)
}

/// It protects only from going back to an older version, so that nothing depends on it.
fn leave_note(former: &Path) {
    match OpenOptions::new().write(true).create_new(true).open(former) {
        Ok(mut file) => drop(file.write_all(NOTE.as_bytes())),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        Err(error) => {
            tracing::warn!(file = %former.display(), %error, "write note for older versions");
        }
    }
}

fn holds_quorum(dir: &Path) -> io::Result<bool> {
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let Ok(name) = entry.file_name().into_string() else { continue };
        let may_be = FORMER_FILES.contains(&&*name) || name.ends_with(FORMER_SUFFIX);
        if may_be && entry.file_type()?.is_file() && has_magic(&entry.path())? {
            return Ok(true);
        }
    }
    Ok(false)
}

fn has_magic(path: &Path) -> io::Result<bool> {
    let mut start = Vec::new();
    File::open(path)?.take(FORMER_MAGIC.len() as u64).read_to_end(&mut start)?;
    Ok(start == FORMER_MAGIC)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn put(dir: &Path, file: &str, content: &[u8]) {
        fs::create_dir_all(dir).unwrap();
        fs::write(dir.join(file), content).unwrap();
    }

    #[test]
    fn a_directory_of_version_0_1_is_moved_once() {
        let logs = tempfile::tempdir().unwrap();
        let former = logs.path().join(FORMER_DIR);
        put(&former, "vote", b"BNBSVOTE and so on");
        put(&former, "00000000000000000001.entries", b"BNBSRAFT");
        let place = settle(logs.path()).unwrap();
        assert_eq!(fs::read(place.join("vote")).unwrap(), b"BNBSVOTE and so on");
        assert_eq!(settle(logs.path()).unwrap(), place);
        assert_eq!(fs::read_dir(&place).unwrap().count(), 2);
        // What version 0.1 does first there.
        assert!(fs::create_dir_all(&former).is_err());
    }

    #[test]
    fn a_crash_behind_the_rename_changes_nothing() {
        let logs = tempfile::tempdir().unwrap();
        put(&logs.path().join(DIR), "vote", b"BNBSVOTE");
        let place = settle(logs.path()).unwrap();
        assert_eq!(fs::read(place.join("vote")).unwrap(), b"BNBSVOTE");
        assert!(logs.path().join(FORMER_DIR).is_file());
    }

    #[test]
    fn what_is_not_the_quorums_stays() {
        let logs = tempfile::tempdir().unwrap();
        let former = logs.path().join(FORMER_DIR);
        put(&former, "quorum-state", b"{}");
        put(&former, "vote", b"mine");
        let place = settle(logs.path()).unwrap();
        assert!(!place.exists());
        assert_eq!(fs::read(former.join("vote")).unwrap(), b"mine");
        assert_eq!(fs::read(former.join("quorum-state")).unwrap(), b"{}");
    }

    #[test]
    fn of_two_logs_none_is_chosen() {
        let logs = tempfile::tempdir().unwrap();
        put(&logs.path().join(FORMER_DIR), "vote", b"BNBSVOTE");
        put(&logs.path().join(DIR), "vote", b"BNBSVOTE");
        let error = settle(logs.path()).unwrap_err().to_string();
        assert!(error.contains(FORMER_DIR) && error.contains(DIR), "{error}");
    }
}
