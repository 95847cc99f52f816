//! The replicated state machine: applies committed entries to the image, publishes it once per
//! batch, and keeps the snapshot file.
//!
//! An entry whose records do not fit the image is rejected as a whole: every node has the same
//! image before it, so every node decides the same, and only the proposer hears of it. Records that
//! cannot be read at all are another matter, since a newer release may read them: from there on
//! the image stands still, and the node waits to be upgraded (`waiting.rs`).
//!
//! The image lives in memory only. After a restart it is the snapshot plus the replayed log.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwap;
use bytes::Bytes;
use futures::{Stream, StreamExt};
use metadata::Image;
use openraft::entry::RaftEntry;
use openraft::storage::{ApplyResponder, EntryResponder, RaftStateMachine};
use openraft::{EntryPayload, OptionalSend, RaftSnapshotBuilder};
use parking_lot::Mutex;
use tokio::sync::{Notify, watch};

use crate::formats::{SnapshotHead, Unreadable, decode, encode};
use crate::log::atomic_file::{self, SNAPSHOT};
use crate::types::{LogId, Outcome, Records, Snapshot, SnapshotMeta, StoredMembership, TypeConfig};

const SNAPSHOT_FILE: &str = "snapshot";
/// A snapshot is asked for when the applied records since the last one take this much, however
/// few entries they are: the log's entries are in memory until then.
const SNAPSHOT_LOG_BYTES: u64 = 16 << 20;

fn invalid(error: impl std::fmt::Display) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error.to_string())
}

/// An entry from this size on is applied on the pool: heartbeats run on the calling thread.
const LONG_ENTRY_BYTES: usize = 64 << 10;
/// Records applied on the calling thread before others get their turn.
const APPLIED_BYTES_MAX: usize = 64 << 10;

/// The Raft library over this state machine.
pub type Raft = openraft::Raft<TypeConfig, Machine>;

/// What the state machine shares with the broker and with its snapshot builder.
pub struct MachineState {
    image: ArcSwap<Image>,
    images: watch::Sender<Arc<Image>>,
    applied: Mutex<Applied>,
    snapshots: SnapshotFile,
    /// Entries whose records did not fit, since the start.
    rejected: AtomicU64,
    /// What this release cannot read: the image ends before it.
    unreadable: watch::Sender<Option<Arc<Unreadable>>>,
    /// Asks for a snapshot because of the log's size.
    pub snapshot_due: Notify,
}

#[derive(Clone, Default)]
struct Applied {
    last: Option<LogId>,
    membership: StoredMembership,
    bytes_since_snapshot: u64,
}

/// The state machine as openraft owns it.
pub struct Machine {
    state: Arc<MachineState>,
}

impl MachineState {
    /// Loads the snapshot, if there is one. `cluster_id` is the empty image's.
    pub fn open(dir: &Path, cluster_id: &str) -> io::Result<(Machine, Arc<MachineState>)> {
        let snapshots = SnapshotFile { path: dir.join(SNAPSHOT_FILE), newest: Mutex::new(None) };
        let mut image = Image::new(cluster_id);
        let mut applied = Applied::default();
        if let Some(snapshot) = snapshots.read()? {
            image = read_image(&snapshot.snapshot, snapshots.path.display())?;
            applied.last = snapshot.meta.last_log_id;
            applied.membership = snapshot.meta.last_membership.clone();
            *snapshots.newest.lock() = snapshot.meta.last_log_id;
        }
        let image = Arc::new(image);
        let state = Arc::new(MachineState {
            images: watch::Sender::new(image.clone()),
            image: ArcSwap::new(image),
            applied: Mutex::new(applied),
            snapshots,
            rejected: AtomicU64::new(0),
            unreadable: watch::Sender::new(None),
            snapshot_due: Notify::new(),
        });
        Ok((Machine { state: state.clone() }, state))
    }

    pub fn image(&self) -> Arc<Image> {
        self.image.load_full()
    }

    pub fn images(&self) -> watch::Receiver<Arc<Image>> {
        self.images.subscribe()
    }

    /// -1 before the first entry.
    pub fn applied_offset(&self) -> i64 {
        self.applied.lock().last.map_or(-1, |id| id.index as i64)
    }

    pub fn rejected_entries(&self) -> u64 {
        self.rejected.load(Ordering::Relaxed)
    }

    pub fn unreadable(&self) -> watch::Receiver<Option<Arc<Unreadable>>> {
        self.unreadable.subscribe()
    }

    /// The image stands still, because this release cannot read what follows.
    pub fn waits(&self) -> bool {
        self.unreadable.borrow().is_some()
    }

    /// Stops applying; the first reason stays.
    pub fn wait_for_upgrade(&self, unreadable: Unreadable) {
        self.unreadable.send_if_modified(|current| {
            if current.is_none() {
                tracing::error!(%unreadable, "the metadata cannot be read further");
                *current = Some(Arc::new(unreadable));
                return true;
            }
            false
        });
    }

    /// One entry onto the image: all of its records, or none. The offset advances either way.
    /// Or it cannot be read, and the image stands still before it.
    fn apply_entry(
        &self,
        image: &mut Image,
        log_id: LogId,
        bytes: &[u8],
    ) -> io::Result<Result<Outcome, Unreadable>> {
        let offset = log_id.index as i64;
        let records = match bytes {
            [] => Vec::new(),
            bytes => match metadata::decode_records(bytes) {
                Ok(records) => records,
                Err(error) => {
                    return Ok(Err(unreadable_entry(log_id.index, &error)));
                }
            },
        };
        let Err(error) = image.apply(offset, &records) else {
            return Ok(Ok(Outcome::Applied));
        };
        tracing::error!(%log_id, %error, "a committed entry does not fit the image: rejected");
        self.rejected.fetch_add(1, Ordering::Relaxed);
        image.apply(offset, &[]).map_err(invalid)?;
        Ok(Ok(Outcome::Rejected(error.to_string())))
    }

    fn publish(&self, image: Image, applied: Applied) {
        let image = Arc::new(image);
        self.image.store(image.clone());
        *self.applied.lock() = applied;
        self.images.send_replace(image);
    }

    fn install(&self, meta: &SnapshotMeta, image: Image) {
        let applied = Applied {
            last: meta.last_log_id,
            membership: meta.last_membership.clone(),
            bytes_since_snapshot: 0,
        };
        self.publish(image, applied);
    }
}

impl RaftStateMachine<TypeConfig> for Machine {
    type SnapshotData = Bytes;
    type SnapshotBuilder = Builder;

    async fn applied_state(&mut self) -> io::Result<(Option<LogId>, StoredMembership)> {
        let applied = self.state.applied.lock();
        Ok((applied.last, applied.membership.clone()))
    }

    async fn apply<S>(&mut self, mut entries: S) -> io::Result<()>
    where
        S: Stream<Item = io::Result<EntryResponder<TypeConfig>>> + Unpin + OptionalSend,
    {
        let mut image = Image::clone(&self.state.image.load());
        let mut applied = self.state.applied.lock().clone();
        let mut answers: Vec<(ApplyResponder<TypeConfig>, Outcome)> = Vec::new();
        let (mut bytes_in_a_row, mut unreadable) = (0, None);
        while let Some(next) = entries.next().await {
            let (entry, responder) = next?;
            if unreadable.is_some() || self.state.waits() {
                // Kept in the log for the next release; who proposed it does not learn more.
                continue;
            }
            let log_id = entry.log_id();
            let bytes = match &entry.payload {
                EntryPayload::Normal(Records(bytes)) => bytes.clone(),
                EntryPayload::Blank => Bytes::new(),
                EntryPayload::Membership(membership) => {
                    applied.membership = StoredMembership::new(Some(log_id), membership.clone());
                    Bytes::new()
                }
            };
            applied.bytes_since_snapshot += bytes.len() as u64;
            bytes_in_a_row += bytes.len();
            let outcome = if bytes.len() >= LONG_ENTRY_BYTES {
                let (state, mut next) = (self.state.clone(), image);
                let applying = move || {
                    let outcome = state.apply_entry(&mut next, log_id, &bytes)?;
                    Ok((next, outcome))
                };
                let (next, outcome) = on_pool(applying).await?;
                (image, bytes_in_a_row) = (next, 0);
                outcome
            } else {
                if bytes_in_a_row >= APPLIED_BYTES_MAX {
                    bytes_in_a_row = 0;
                    tokio::task::yield_now().await;
                }
                self.state.apply_entry(&mut image, log_id, &bytes)?
            };
            let is_newer = applied.last.is_none_or(|last| last.index < log_id.index);
            debug_assert!(is_newer, "entry {log_id} is applied after {:?}", applied.last);
            let outcome = match outcome {
                Ok(outcome) => outcome,
                Err(newer) => {
                    unreadable = Some(newer);
                    continue;
                }
            };
            let offset = image.offset();
            debug_assert_eq!(offset, log_id.index as i64, "the image is not at its entry");
            applied.last = Some(log_id);
            answers.extend(responder.map(|responder| (responder, outcome)));
        }
        if applied.bytes_since_snapshot >= SNAPSHOT_LOG_BYTES {
            applied.bytes_since_snapshot = 0;
            self.state.snapshot_due.notify_one();
        }
        // The proposer's answer promises that this node's image has the records.
        self.state.publish(image, applied);
        // Who hears of it finds the image up to there.
        if let Some(unreadable) = unreadable {
            self.state.wait_for_upgrade(unreadable);
        }
        for (responder, outcome) in answers {
            responder.send(outcome);
        }
        Ok(())
    }

    async fn get_snapshot_builder(&mut self) -> Builder {
        let applied = self.state.applied.lock().clone();
        Builder { state: self.state.clone(), image: self.state.image(), applied }
    }

    async fn install_snapshot(&mut self, meta: &SnapshotMeta, content: Bytes) -> io::Result<()> {
        let (state, meta) = (self.state.clone(), meta.clone());
        on_pool(move || {
            let image = read_image(&content, "the snapshot")?;
            state.snapshots.write(&meta, &content)?;
            state.install(&meta, image);
            Ok(())
        })
        .await
    }

    async fn get_current_snapshot(&mut self) -> io::Result<Option<Snapshot>> {
        let state = self.state.clone();
        on_pool(move || state.snapshots.read()).await
    }
}

/// Encodes one version of the image while later entries are applied.
pub struct Builder {
    state: Arc<MachineState>,
    image: Arc<Image>,
    applied: Applied,
}

impl RaftSnapshotBuilder<TypeConfig> for Builder {
    type SnapshotData = Bytes;

    async fn build_snapshot(&mut self) -> io::Result<Snapshot> {
        let (state, image, applied) =
            (self.state.clone(), self.image.clone(), self.applied.clone());
        let last = applied.last.map_or(-1, |id| id.index as i64);
        debug_assert_eq!(image.offset(), last, "a snapshot of another entry");
        on_pool(move || {
            let meta =
                SnapshotMeta { last_log_id: applied.last, last_membership: applied.membership };
            let content = Bytes::from(image.encode());
            state.snapshots.write(&meta, &content)?;
            state.applied.lock().bytes_since_snapshot = 0;
            Ok(Snapshot { meta, snapshot: content })
        })
        .await
    }
}

/// The entry's bytes are whole, as their checksum says.
fn unreadable_entry(index: u64, error: &metadata::DecodeError) -> Unreadable {
    Unreadable::new(format!("entry {index} of the metadata log"), error)
}

pub fn read_image(content: &[u8], what: impl std::fmt::Display) -> io::Result<Image> {
    use metadata::DecodeError as E;
    Image::decode(content).map_err(|error| match error {
        E::UnsupportedVersion(_) | E::UnknownKind(_) | E::Malformed(_) => {
            Unreadable::new(what, error).into()
        }
        error => invalid(error),
    })
}

/// Encoding and file work of snapshots may take long; heartbeats run on the calling thread.
async fn on_pool<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(io::Error::other)?
}

/// The snapshot file: length of the meta (u32), meta, image; inside an atomic file.
struct SnapshotFile {
    path: PathBuf,
    /// The last entry in the file. Held while the file is replaced, so that a slow build never
    /// replaces a newer snapshot that was installed meanwhile.
    newest: Mutex<Option<LogId>>,
}

impl SnapshotFile {
    fn write(&self, meta: &SnapshotMeta, content: &[u8]) -> io::Result<()> {
        let mut newest = self.newest.lock();
        if meta.last_log_id.is_some() && *newest >= meta.last_log_id {
            return Ok(());
        }
        let head = encode(&SnapshotHead::from(meta))?;
        let mut bytes = Vec::with_capacity(4 + head.len() + content.len());
        bytes.extend_from_slice(&(head.len() as u32).to_le_bytes());
        bytes.extend_from_slice(&head);
        bytes.extend_from_slice(content);
        atomic_file::write(&self.path, SNAPSHOT, &bytes);
        *newest = meta.last_log_id;
        Ok(())
    }

    fn read(&self) -> io::Result<Option<Snapshot>> {
        let _guard = self.newest.lock();
        let Some(bytes) = atomic_file::read(&self.path, SNAPSHOT)? else { return Ok(None) };
        let bytes = Bytes::from(bytes);
        let cut_off = || invalid(format!("{}: the meta is cut off", self.path.display()));
        let len = bytes.first_chunk().map(|len| u32::from_le_bytes(*len)).ok_or_else(cut_off)?;
        let end = 4 + len as usize;
        let head: SnapshotHead = decode(bytes.get(4..end).ok_or_else(cut_off)?)?;
        let meta = SnapshotMeta::try_from(head)?;
        Ok(Some(Snapshot { meta, snapshot: bytes.slice(end..) }))
    }
}
