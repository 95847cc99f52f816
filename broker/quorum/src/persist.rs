//! Writes of the metadata log that wait while there is no room. A full disk and used-up descriptors
//! are no failure of the disk: what was not written is not acknowledged, nothing is lost, and both
//! pass. A process that ended instead would start, find the disk as full and end again, and never
//! come to delete anything.
//!
//! A voter that waits here votes and acknowledges nothing: others lead and commit without it.

use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::io::Errno;

use crate::fatal::fatal_write;

const PAUSE_FIRST: Duration = Duration::from_millis(10);
const PAUSE_MAX: Duration = Duration::from_millis(500);
/// How often the log says that it still waits.
const REMINDER: Duration = Duration::from_secs(10);

/// Carries out a write, as often as it takes where only room or descriptors are missing. Any other
/// failure ends the process (see `fatal`). The write must be one that may be repeated.
pub fn persist<T>(path: &Path, write: impl FnMut() -> io::Result<T>) -> T {
    attempt(path, write, std::thread::sleep).unwrap_or_else(|error| fatal_write(path, &error))
}

fn attempt<T>(
    path: &Path,
    mut write: impl FnMut() -> io::Result<T>,
    mut wait: impl FnMut(Duration),
) -> io::Result<T> {
    let mut pause = PAUSE_FIRST;
    let mut told: Option<Instant> = None;
    loop {
        match write() {
            Ok(done) => {
                if told.is_some() {
                    tracing::info!(path = %path.display(), "the metadata log is written again");
                }
                return Ok(done);
            }
            Err(error) if passes(&error) => {
                if told.is_none_or(|at| at.elapsed() >= REMINDER) {
                    told = Some(Instant::now());
                    let path = path.display();
                    tracing::error!(%path, %error, "the metadata log waits to be written");
                }
                wait(pause);
                pause = (2 * pause).min(PAUSE_MAX);
            }
            Err(error) => return Err(error),
        }
    }
}

/// The disk is full, the quota used up, or descriptors or memory are short.
fn passes(error: &io::Error) -> bool {
    let errno = Errno::from_io_error(error);
    let passing = [Errno::NOSPC, Errno::DQUOT, Errno::MFILE, Errno::NFILE, Errno::NOMEM];
    errno.is_some_and(|errno| passing.contains(&errno))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn attempts(errors: &[Errno]) -> (io::Result<usize>, Vec<Duration>) {
        let (mut done, mut pauses) = (0, Vec::new());
        let write = || {
            done += 1;
            errors.get(done - 1).map_or(Ok(done), |errno| Err((*errno).into()))
        };
        let result = attempt(Path::new("log"), write, |pause| pauses.push(pause));
        (result, pauses)
    }

    #[test]
    fn a_write_waits_for_room_and_descriptors() {
        let errors = [Errno::NOSPC, Errno::DQUOT, Errno::MFILE, Errno::NFILE, Errno::NOMEM];
        let (result, pauses) = attempts(&errors);
        assert_eq!(result.unwrap(), 6);
        assert_eq!(pauses.len(), 5);
        assert!(pauses.is_sorted() && pauses.iter().all(|pause| *pause <= PAUSE_MAX));
    }

    #[test]
    fn a_failed_disk_is_not_waited_for() {
        for errno in [Errno::IO, Errno::ROFS, Errno::NOENT, Errno::STALE] {
            let (result, pauses) = attempts(&[Errno::NOSPC, errno]);
            assert_eq!(Errno::from_io_error(&result.unwrap_err()), Some(errno));
            assert_eq!(pauses.len(), 1);
        }
    }
}
