//! A file system in memory with a fault model, for simulation and tests. Deterministic: all
//! randomness comes from the state that the caller passes in.
//!
//! Fault model, on [`MemFs::crash`]:
//! - Data written and not synced survives write by write: whole, lost, or torn (cut at a byte,
//!   or a subset of its 512-byte sectors); holes read as zeros. A synced file keeps its content.
//! - Creations, renames and removals not covered by a `sync_dir` survive up to a random point,
//!   per directory, in order (as a journal would have it). A file that survives without its
//!   name is gone.
//! - Handles of before fail from then on.
//!
//! While running: the disk can be full (nothing of the failing write lands, or a part of it), and
//! reads, writes and syncs can fail with EIO. A failed sync leaves the data unsynced: what of it
//! survives is drawn at the crash that must follow.

use std::collections::BTreeMap;
use std::io::{self, IoSlice};
use std::os::fd::BorrowedFd;
use std::path::{Component, Path};
use std::sync::Arc;

use parking_lot::Mutex;

use super::{File, Fs, OpenDir, OpenMode, Room};

const SECTOR_BYTES: usize = 512;
/// As of the usual file systems.
const NAME_BYTES_MAX: usize = 255;

/// What goes wrong from now on.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Faults {
    /// Bytes that all files together may hold; a write beyond lands as far as it fits and fails
    /// with `StorageFull`.
    pub capacity_bytes: Option<u64>,
    /// So many of the next reads, writes, syncs fail with EIO.
    pub fail_reads: u32,
    pub fail_writes: u32,
    pub fail_syncs: u32,
    /// Counts down with every operation that is no sync; the one that finds 0 fails with EIO.
    pub fail_step: Option<u32>,
    /// Nothing is in the page cache: reads that may not wait fail with `WouldBlock`.
    pub cold: bool,
}

/// Cheap to clone; clones share the files.
#[derive(Clone, Debug, Default)]
pub struct MemFs {
    state: Arc<Mutex<State>>,
}

#[derive(Debug)]
struct State {
    nodes: BTreeMap<u64, Node>,
    next_node: u64,
    generation: u64,
    faults: Faults,
    used_bytes: u64,
}

const ROOT: u64 = 0;

impl Default for State {
    fn default() -> State {
        let root = Node::Dir(Dir::default());
        State {
            nodes: BTreeMap::from([(ROOT, root)]),
            next_node: 1,
            generation: 0,
            faults: Faults::default(),
            used_bytes: 0,
        }
    }
}

#[derive(Debug)]
enum Node {
    File(Content),
    Dir(Dir),
}

#[derive(Debug, Default)]
struct Content {
    durable: Vec<u8>,
    current: Vec<u8>,
    unsynced: Vec<Change>,
}

#[derive(Debug)]
enum Change {
    Write { pos: usize, data: Vec<u8> },
    SetLen(usize),
}

#[derive(Debug, Default)]
struct Dir {
    durable: BTreeMap<String, u64>,
    current: BTreeMap<String, u64>,
    /// One group per operation: a rename within a directory happens wholly or not at all.
    unsynced: Vec<Vec<(String, Option<u64>)>>,
}

impl Dir {
    fn set(&mut self, names: &[(&str, Option<u64>)]) {
        for (name, node) in names {
            match node {
                Some(node) => self.current.insert((*name).to_owned(), *node),
                None => self.current.remove(*name),
            };
        }
        self.unsynced.push(names.iter().map(|(name, node)| ((*name).to_owned(), *node)).collect());
    }
}

/// One step of splitmix64: good enough to draw faults, and the state is one number.
fn draw(rng: &mut u64) -> u64 {
    *rng = rng.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *rng;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

fn below(rng: &mut u64, n: usize) -> usize {
    if n == 0 { 0 } else { (draw(rng) % n as u64) as usize }
}

fn eio(what: &'static str) -> io::Error {
    io::Error::other(what)
}

impl Content {
    fn crash(&mut self, rng: &mut u64) {
        let mut survived = std::mem::take(&mut self.durable);
        for change in self.unsynced.drain(..) {
            match change {
                Change::SetLen(len) if draw(rng).is_multiple_of(2) => survived.resize(len, 0),
                Change::SetLen(_) => {}
                Change::Write { pos, data } => match draw(rng) % 4 {
                    0 => {}
                    1 => overwrite(&mut survived, pos, &data[..below(rng, data.len() + 1)]),
                    2 => {
                        for (i, sector) in data.chunks(SECTOR_BYTES).enumerate() {
                            if draw(rng).is_multiple_of(2) {
                                overwrite(&mut survived, pos + i * SECTOR_BYTES, sector);
                            }
                        }
                    }
                    _ => overwrite(&mut survived, pos, &data),
                },
            }
        }
        self.current.clone_from(&survived);
        self.durable = survived;
    }
}

fn overwrite(content: &mut Vec<u8>, pos: usize, data: &[u8]) {
    if data.is_empty() {
        return;
    }
    if content.len() < pos + data.len() {
        content.resize(pos + data.len(), 0);
    }
    content[pos..pos + data.len()].copy_from_slice(data);
}

fn names(path: &Path) -> impl Iterator<Item = &str> {
    path.components().filter_map(|component| match component {
        Component::Normal(name) => name.to_str(),
        _ => None,
    })
}

impl State {
    fn find(&self, path: &Path) -> Option<u64> {
        names(path).try_fold(ROOT, |node, name| match self.nodes.get(&node) {
            Some(Node::Dir(dir)) => dir.current.get(name).copied(),
            _ => None,
        })
    }

    /// An operation that is no sync.
    fn step(&mut self) -> io::Result<()> {
        match self.faults.fail_step.map(|left| left.checked_sub(1)) {
            None => Ok(()),
            Some(None) => {
                self.faults.fail_step = None;
                Err(eio("injected failure"))
            }
            Some(left) => {
                self.faults.fail_step = left;
                Ok(())
            }
        }
    }

    fn dir_mut(&mut self, node: u64) -> io::Result<&mut Dir> {
        match self.nodes.get_mut(&node) {
            Some(Node::Dir(dir)) => Ok(dir),
            _ => Err(io::ErrorKind::NotADirectory.into()),
        }
    }

    /// The directory that holds `path`, and the last name.
    fn parent<'p>(&mut self, path: &'p Path) -> io::Result<(&mut Dir, &'p str)> {
        let name = names(path).last().ok_or(io::ErrorKind::InvalidInput)?;
        if name.len() > NAME_BYTES_MAX {
            return Err(rustix::io::Errno::NAMETOOLONG.into());
        }
        let parent = path.parent().ok_or(io::ErrorKind::InvalidInput)?;
        let node = self.find(parent).ok_or(io::ErrorKind::NotFound)?;
        Ok((self.dir_mut(node)?, name))
    }

    fn unlink(&mut self, path: &Path) -> io::Result<()> {
        self.find(path).ok_or(io::ErrorKind::NotFound)?;
        let (parent, name) = self.parent(path)?;
        parent.set(&[(name, None)]);
        self.collect();
        Ok(())
    }

    fn add(&mut self, node: Node) -> u64 {
        let id = self.next_node;
        self.next_node += 1;
        self.nodes.insert(id, node);
        id
    }

    fn content(&mut self, node: u64, generation: u64) -> io::Result<&mut Content> {
        if generation != self.generation {
            return Err(eio("the handle is from before the crash"));
        }
        match self.nodes.get_mut(&node) {
            Some(Node::File(content)) => Ok(content),
            _ => Err(io::ErrorKind::NotFound.into()),
        }
    }

    /// Drops nodes that no name leads to, neither now nor after a crash.
    fn collect(&mut self) {
        let mut reachable = std::collections::BTreeSet::from([ROOT]);
        let mut todo = vec![ROOT];
        while let Some(node) = todo.pop() {
            if let Some(Node::Dir(dir)) = self.nodes.get(&node) {
                let named = dir.current.values().chain(dir.durable.values()).copied();
                let pending = dir.unsynced.iter().flatten().filter_map(|(_, node)| *node);
                todo.extend(named.chain(pending).filter(|node| reachable.insert(*node)));
            }
        }
        self.nodes.retain(|node, _| reachable.contains(node));
        self.used_bytes = self.nodes.values().map(Node::len).sum();
    }
}

impl Node {
    fn len(&self) -> u64 {
        match self {
            Node::File(content) => content.current.len() as u64,
            Node::Dir(_) => 0,
        }
    }
}

impl MemFs {
    pub fn new() -> MemFs {
        MemFs::default()
    }

    pub fn set_faults(&self, faults: Faults) {
        self.state.lock().faults = faults;
    }

    /// Power loss, as the fault model says; `rng` advances.
    pub fn crash(&self, rng: &mut u64) {
        let mut state = self.state.lock();
        state.generation += 1;
        state.faults = Faults::default();
        for node in state.nodes.values_mut() {
            match node {
                Node::File(content) => content.crash(rng),
                Node::Dir(dir) => {
                    let survive = below(rng, dir.unsynced.len() + 1);
                    for (name, node) in dir.unsynced.drain(..).take(survive).flatten() {
                        match node {
                            Some(node) => dir.durable.insert(name, node),
                            None => dir.durable.remove(&name),
                        };
                    }
                    dir.current.clone_from(&dir.durable);
                }
            }
        }
        state.collect();
    }

    /// The process ends, the machine does not: everything written stays, handles fail.
    pub fn kill(&self) {
        let mut state = self.state.lock();
        state.generation += 1;
        state.faults = Faults::default();
    }

    /// The whole content of a file as a reader sees it now.
    pub fn contents(&self, path: &Path) -> Option<Vec<u8>> {
        let state = self.state.lock();
        match state.nodes.get(&state.find(path)?) {
            Some(Node::File(content)) => Some(content.current.clone()),
            _ => None,
        }
    }

    /// Replaces a file's content durably, for tests that damage files.
    pub fn put(&self, path: &Path, data: &[u8]) -> io::Result<()> {
        let file = self.open(path, OpenMode::Create)?;
        file.set_len(0)?;
        file.write_all_at(&[IoSlice::new(data)], 0)?;
        file.sync()?;
        match path.parent() {
            Some(parent) => self.sync_dir(parent),
            None => Ok(()),
        }
    }

    /// What is to go wrong yet.
    pub fn faults(&self) -> Faults {
        self.state.lock().faults.clone()
    }

    /// Removes a directory with all that is in it, for tests that take a log away.
    pub fn remove_dir_all(&self, dir: &Path) -> io::Result<()> {
        self.state.lock().unlink(dir)
    }

    pub fn used_bytes(&self) -> u64 {
        self.state.lock().used_bytes
    }
}

impl Fs for MemFs {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn File>> {
        let mut state = self.state.lock();
        state.step()?;
        let node = match state.find(path) {
            Some(node) => node,
            None if mode == OpenMode::Create => {
                state.parent(path)?;
                let node = state.add(Node::File(Content::default()));
                let (dir, name) = state.parent(path)?;
                dir.set(&[(name, Some(node))]);
                node
            }
            None => return Err(io::ErrorKind::NotFound.into()),
        };
        if !matches!(state.nodes.get(&node), Some(Node::File(_))) {
            return Err(io::ErrorKind::IsADirectory.into());
        }
        let generation = state.generation;
        Ok(Arc::new(MemFile { state: self.state.clone(), node, generation }))
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let mut state = self.state.lock();
        state.step()?;
        let node = state.find(dir).ok_or(io::ErrorKind::NotFound)?;
        Ok(state.dir_mut(node)?.current.keys().cloned().collect())
    }

    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        let mut state = self.state.lock();
        let mut node = ROOT;
        for name in names(dir) {
            if name.len() > NAME_BYTES_MAX {
                return Err(rustix::io::Errno::NAMETOOLONG.into());
            }
            let found = state.dir_mut(node)?.current.get(name).copied();
            node = match found {
                Some(next) => next,
                None => {
                    let next = state.add(Node::Dir(Dir::default()));
                    state.dir_mut(node)?.set(&[(name, Some(next))]);
                    next
                }
            };
        }
        state.dir_mut(node).map(|_| ())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.state.lock();
        state.step()?;
        let node = state.find(from).ok_or(io::ErrorKind::NotFound)?;
        let (to_dir, to_name) = state.parent(to)?;
        if from.parent() == to.parent() {
            let from_name = names(from).last().ok_or(io::ErrorKind::InvalidInput)?;
            to_dir.set(&[(from_name, None), (to_name, Some(node))]);
        } else {
            to_dir.set(&[(to_name, Some(node))]);
            let (from_dir, from_name) = state.parent(from)?;
            from_dir.set(&[(from_name, None)]);
        }
        Ok(())
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state.lock();
        state.step()?;
        let node = state.find(path).ok_or(io::ErrorKind::NotFound)?;
        if matches!(state.nodes.get(&node), Some(Node::Dir(_))) {
            return Err(io::ErrorKind::IsADirectory.into());
        }
        state.unlink(path)
    }

    fn remove_dir(&self, dir: &Path) -> io::Result<()> {
        let mut state = self.state.lock();
        state.step()?;
        let node = state.find(dir).ok_or(io::ErrorKind::NotFound)?;
        if !state.dir_mut(node)?.current.is_empty() {
            return Err(io::ErrorKind::DirectoryNotEmpty.into());
        }
        state.unlink(dir)
    }

    fn open_dir(&self, dir: &Path) -> io::Result<Box<dyn OpenDir>> {
        let mut state = self.state.lock();
        let node = state.find(dir).ok_or(io::ErrorKind::NotFound)?;
        state.dir_mut(node)?;
        Ok(Box::new(MemDir { state: self.state.clone(), node }))
    }

    fn exists(&self, path: &Path) -> bool {
        self.state.lock().find(path).is_some()
    }

    fn room(&self, _: &Path) -> io::Result<Option<Room>> {
        let state = self.state.lock();
        Ok(state.faults.capacity_bytes.map(|total_bytes| Room {
            total_bytes,
            free_bytes: total_bytes.saturating_sub(state.used_bytes),
        }))
    }

    fn modified_ms(&self, _path: &Path) -> io::Result<i64> {
        Ok(0)
    }
}

fn take_fault(counter: &mut u32, what: &'static str) -> io::Result<()> {
    match counter.checked_sub(1) {
        Some(left) => {
            *counter = left;
            Err(eio(what))
        }
        None => Ok(()),
    }
}

struct MemDir {
    state: Arc<Mutex<State>>,
    node: u64,
}

impl OpenDir for MemDir {
    fn sync(&self) -> io::Result<()> {
        let mut state = self.state.lock();
        take_fault(&mut state.faults.fail_syncs, "injected sync failure")?;
        let dir = state.dir_mut(self.node)?;
        dir.durable.clone_from(&dir.current);
        dir.unsynced.clear();
        Ok(())
    }
}

#[derive(Debug)]
struct MemFile {
    state: Arc<Mutex<State>>,
    node: u64,
    generation: u64,
}

impl File for MemFile {
    fn read_at(&self, buf: &mut [u8], pos: u64) -> io::Result<usize> {
        let mut state = self.state.lock();
        state.step()?;
        take_fault(&mut state.faults.fail_reads, "injected read failure")?;
        let content = state.content(self.node, self.generation)?;
        let pos = usize::try_from(pos).unwrap_or(usize::MAX);
        let available = content.current.get(pos..).unwrap_or_default();
        let n = available.len().min(buf.len());
        buf[..n].copy_from_slice(&available[..n]);
        Ok(n)
    }

    fn read_at_nowait(&self, buf: &mut [u8], pos: u64) -> io::Result<usize> {
        if self.state.lock().faults.cold {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        self.read_at(buf, pos)
    }

    fn write_all_at(&self, slices: &[IoSlice<'_>], pos: u64) -> io::Result<()> {
        let mut data: Vec<u8> = slices.iter().flat_map(|slice| slice.iter().copied()).collect();
        let pos = usize::try_from(pos).map_err(|_| io::ErrorKind::InvalidInput)?;
        let mut state = self.state.lock();
        state.step()?;
        take_fault(&mut state.faults.fail_writes, "injected write failure")?;
        let (capacity, used) = (state.faults.capacity_bytes, state.used_bytes);
        let content = state.content(self.node, self.generation)?;
        let len = content.current.len();
        let wanted = data.len();
        if let Some(capacity) = capacity {
            let room = capacity.saturating_sub(used) as usize;
            data.truncate((len + room).saturating_sub(pos).min(wanted));
        }
        overwrite(&mut content.current, pos, &data);
        let grown = (content.current.len() - len) as u64;
        let full = data.len() < wanted;
        content.unsynced.push(Change::Write { pos, data });
        state.used_bytes += grown;
        if full { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
    }

    fn len(&self) -> io::Result<u64> {
        let mut state = self.state.lock();
        Ok(state.content(self.node, self.generation)?.current.len() as u64)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let len = usize::try_from(len).map_err(|_| io::ErrorKind::InvalidInput)?;
        let mut state = self.state.lock();
        state.step()?;
        take_fault(&mut state.faults.fail_writes, "injected write failure")?;
        let content = state.content(self.node, self.generation)?;
        let before = content.current.len();
        content.current.resize(len, 0);
        content.unsynced.push(Change::SetLen(len));
        state.used_bytes = state.used_bytes + len as u64 - before as u64;
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        let mut state = self.state.lock();
        take_fault(&mut state.faults.fail_syncs, "injected sync failure")?;
        let content = state.content(self.node, self.generation)?;
        // Replayed rather than copied: a sync costs what changed, not the size of the file.
        for change in content.unsynced.drain(..) {
            match change {
                Change::Write { pos, data } => overwrite(&mut content.durable, pos, &data),
                Change::SetLen(len) => content.durable.resize(len, 0),
            }
        }
        Ok(())
    }

    fn is_resident(&self, _pos: u64, _len: usize) -> bool {
        !self.state.lock().faults.cold
    }

    fn will_need(&self, _pos: u64, _len: usize) {
        self.state.lock().faults.cold = false;
    }

    fn as_fd(&self) -> Option<BorrowedFd<'_>> {
        None
    }
}

#[cfg(test)]
mod tests;
