//! What was built from files, and is built again when they change.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::sync::Arc;

use arc_swap::ArcSwap;
use base::tls::TlsSettings;
use parking_lot::Mutex;

use crate::material::{self, TlsError};

/// By which a change of a file is seen; Secrets of Kubernetes change by another file under the
/// same name.
type Stamp = Vec<Option<(u64, u64, i64, i64)>>;

/// What a look at the files came to.
#[derive(Debug)]
pub enum Outcome {
    Unchanged,
    Reloaded,
    /// The files changed, and cannot be used. What was there before stays in use.
    Failed(TlsError),
}

pub(crate) struct Reloadable<T> {
    settings: TlsSettings,
    build: fn(&TlsSettings) -> Result<T, TlsError>,
    current: ArcSwap<T>,
    /// Of the files that `current` was built from.
    stamp: Mutex<Stamp>,
}

impl<T> Reloadable<T> {
    pub(crate) fn new(
        settings: TlsSettings,
        build: fn(&TlsSettings) -> Result<T, TlsError>,
    ) -> Result<Reloadable<T>, TlsError> {
        // Before the files are read: a change in between is seen later.
        let stamp = Mutex::new(stamp(&settings));
        let current = ArcSwap::from_pointee(build(&settings)?);
        Ok(Reloadable { settings, build, current, stamp })
    }

    pub(crate) fn current(&self) -> Arc<T> {
        self.current.load_full()
    }

    /// Looks at the files, and builds anew if they changed. Blocks on the disk.
    pub(crate) fn refresh(&self) -> Outcome {
        let mut known = self.stamp.lock();
        let now = stamp(&self.settings);
        if *known == now {
            return Outcome::Unchanged;
        }
        match (self.build)(&self.settings) {
            Ok(built) => {
                self.current.store(Arc::new(built));
                *known = now;
                Outcome::Reloaded
            }
            // Perhaps only one of two files is there yet: the next look tries again.
            Err(error) => Outcome::Failed(error),
        }
    }
}

fn stamp(settings: &TlsSettings) -> Stamp {
    let of = |file| {
        let meta = fs::metadata(file).ok()?;
        Some((meta.ino(), meta.len(), meta.mtime(), meta.mtime_nsec()))
    };
    material::files(settings).into_iter().map(of).collect()
}
