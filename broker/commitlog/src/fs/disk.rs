//! The real file system.

/// Files of the operating system.
#[derive(Clone, Copy, Default, Debug)]
pub struct DiskFs;
