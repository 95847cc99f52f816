//! A file system in memory, with faults.

/// What may go wrong from now on. All counters and rates are deterministic.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Faults {
    /// Bytes that all files together may hold; writes beyond fail with `StorageFull`.
    pub capacity_bytes: Option<u64>,
    /// The next reads / writes / syncs that fail with EIO (0 none, 1 the next one, ...).
    pub fail_reads: u32,
    pub fail_writes: u32,
    pub fail_syncs: u32,
}

/// Cheap to clone; clones share the files.
#[derive(Clone, Debug, Default)]
pub struct MemFs {}

impl MemFs {
    pub fn new() -> MemFs {
        MemFs::default()
    }

    pub fn set_faults(&self, _faults: Faults) {
        unimplemented!()
    }

    /// Power loss: what was not synced survives wholly, partly (torn) or not at all, names
    /// included, as drawn from `rng`, which advances. Open handles of before fail from now on.
    pub fn crash(&self, _rng: &mut u64) {
        unimplemented!()
    }

    /// The whole content of a file as it is now, for assertions.
    pub fn contents(&self, _path: &std::path::Path) -> Option<Vec<u8>> {
        unimplemented!()
    }
}
