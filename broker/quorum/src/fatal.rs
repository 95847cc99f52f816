//! The end of the process, by name, when the metadata log cannot be trusted any more.
//!
//! After a failed fsync the kernel may have dropped the dirty pages and a second fsync would
//! succeed without them, so nothing that was not acknowledged before can be acknowledged later.
//! A voter that forgets what it promised endangers the whole cluster: it must stop at once.

use std::fmt::Display;
use std::path::Path;

/// fsync, fdatasync or a directory sync failed.
pub fn fatal_fsync(path: &Path, error: &std::io::Error) -> ! {
    die("fsync of the metadata log failed", path.display(), error)
}

/// A write to the metadata log failed. A full disk comes not here, see `persist`.
pub fn fatal_write(path: &Path, error: &std::io::Error) -> ! {
    die("writing the metadata log failed", path.display(), error)
}

/// The Raft core stopped by itself: its storage or its invariants failed.
pub fn fatal_raft(error: &dyn Display) -> ! {
    die("the metadata quorum failed", "raft", &error)
}

fn die(what: &str, subject: impl Display, error: &dyn Display) -> ! {
    tracing::error!(%subject, %error, "{what}; the process ends");
    // The subscriber may be asynchronous or absent; the reason must not be lost.
    eprintln!("FATAL: {what}: {subject}: {error}");
    std::process::abort()
}
