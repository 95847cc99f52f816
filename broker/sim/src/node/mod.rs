//! A broker: a process that comes and goes, and a disk that stays. The process is made of what
//! ships: `storage`, `coordination` and `control` with their own tasks. What they would ask of the
//! network, the quorum and the operating system comes to the world as posts.

mod boot;
mod link;
mod outside;
pub(crate) mod seen;

use std::collections::BTreeMap;
use std::path::Path;

use base::{BrokerId, Offset};
use commitlog::fs::{Fs, MemFs};

use crate::content::BatchId;
use crate::disk_fault::Slowness;
use crate::message::Tp;
use crate::message::node_id;

pub(crate) use boot::LOG_DIR;
pub(crate) use boot::{Process, config};
pub(crate) use link::Link;
pub(crate) use outside::*;
pub(crate) use seen::{Known, Seen};

/// What survives the process, and what the checks know of it.
pub(crate) struct Disk {
    pub(crate) fs: MemFs,
    /// What was written to each log and not truncated.
    pub(crate) content: Vec<Vec<BatchId>>,
    /// Each log may hold what could not be written to it, since it was opened.
    pub(crate) was_spoiled: Vec<bool>,
    /// Everything below is durable, as the last process knew it.
    pub(crate) synced: Vec<Offset>,
    /// Power was lost (or the disk) since the process last registered.
    pub(crate) lost: bool,
    /// The logs that were not opened since power was lost.
    pub(crate) torn: Vec<bool>,
    pub(crate) slow: Slowness,
    /// It is full, or about to fail what is asked of it.
    pub(crate) spoiled: bool,
}

impl Disk {
    pub(crate) fn new(partitions: usize) -> Disk {
        let fs = MemFs::new();
        // The log directory was there long before the run.
        let made = fs.create_dir_all(Path::new(LOG_DIR)).and_then(|()| fs.sync_dir(Path::new("/")));
        assert!(made.is_ok(), "invariant: an empty disk without faults takes a directory");
        Disk {
            fs,
            content: vec![Vec::new(); partitions],
            was_spoiled: vec![false; partitions],
            synced: vec![0; partitions],
            lost: false,
            torn: vec![false; partitions],
            slow: Slowness::default(),
            spoiled: false,
        }
    }
}

/// What a death takes along.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Loss {
    /// The process alone: the page cache survives.
    Nothing,
    /// What was not synced survives wholly, partly or not at all.
    Power,
    /// Everything: a new, empty disk under the same broker id.
    Disk,
}

/// What comes by the clock.
#[derive(Clone, Debug)]
pub(crate) enum Timer {
    /// The ISR check of all leaders.
    Tick,
    Checkpoint,
    /// For the threads that wait for the disk.
    DiskWork,
    CallTimeout {
        id: u64,
    },
}

pub(crate) struct Node {
    pub(crate) id: BrokerId,
    /// Of the process; messages and timers of an earlier one are void.
    pub(crate) incarnation: u64,
    pub(crate) booted_ms: i64,
    pub(crate) up: bool,
    pub(crate) paused_until_ms: i64,
    /// Metadata entries that arrived; they are durable.
    pub(crate) image_at: usize,
    pub(crate) session: u64,
    pub(crate) process: Option<Process>,
    pub(crate) known: BTreeMap<Tp, Known>,
    pub(crate) stopping: bool,
    pub(crate) works: bool,
}

impl Node {
    pub(crate) fn new(node: usize) -> Node {
        Node {
            id: node_id(node),
            incarnation: 0,
            booted_ms: 0,
            up: false,
            paused_until_ms: 0,
            image_at: 0,
            session: 0,
            process: None,
            known: BTreeMap::new(),
            stopping: false,
            works: false,
        }
    }

    pub(crate) fn is_up(&self, incarnation: u64) -> bool {
        self.up && self.incarnation == incarnation
    }
}
