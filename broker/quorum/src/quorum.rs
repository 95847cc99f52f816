//! The handle that the rest of the broker holds, and the thread behind it.

use std::net::TcpListener;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use base::BrokerId;
use bytes::Bytes;
use metadata::{Image, MetadataRecord};
use openraft::errors::{ClientWriteError, ForwardReason};
use openraft::impls::ProgressResponder;
use openraft::{Config, SnapshotPolicy};
use parking_lot::Mutex;
use tokio::sync::{Notify, watch};

use crate::api::*;
use crate::config::{LEASE_PAUSE, NodeAddress, QuorumConfig};
use crate::core::Core;
use crate::formats::Unreadable;
use crate::log::LogStore;
use crate::machine::Raft;
use crate::machine::{Machine, MachineState};
use crate::network::Network;
use crate::rpc::{AddressBook, Dialer, Identity, kind};
use crate::service::Service;
use crate::status::Followers;
use crate::types::{Outcome, Records, node_id};
use crate::{admission, leadership, members, pace, rpc, session, status, waiting};

/// Largest entry. Far above any batch of records that the controller makes.
const RECORDS_BYTES_MAX: usize = 16 << 20;
/// What a disk with room needs for what is queued, many times over.
const STOP_TIMEOUT: Duration = Duration::from_secs(5);
/// Above the data plane's threads.
const NICE: i32 = -10;
/// Threads for what blocks: snapshots, and looking names up. A name server that does not answer
/// holds a thread per attempt for seconds; the others' names must not wait for it.
const BLOCKING_THREADS_MAX: usize = 64;
/// How much of the log stays behind a snapshot, for followers that are a little late.
const ENTRIES_KEPT: u64 = 100;

/// A running node of the quorum. Clones share it; it stops with [`Quorum::shutdown`] or when the
/// last clone is dropped.
#[derive(Clone)]
pub struct Quorum {
    inner: Arc<Inner>,
}

struct Inner {
    core: Arc<Core>,
    followers: Arc<Followers>,
    stopped: watch::Receiver<bool>,
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.core.stop.send_replace(true);
    }
}

impl Quorum {
    /// Opens the files, starts the threads and returns at once; joining the others goes on in the
    /// background (watch [`Quorum::leadership`]). `listener` is the bound controller listener.
    pub fn start(
        mut config: QuorumConfig,
        listener: TcpListener,
        controller: Arc<dyn ControllerHandler>,
    ) -> Result<Quorum, StartError> {
        check(&config)?;
        let dir = config.dir.clone();
        let io = |what: &str| {
            let what = format!("{what} in {}", dir.display());
            move |error| match Unreadable::inside(&error) {
                Some(unreadable) => StartError::Unreadable(unreadable.clone()),
                None => StartError::Io { what, error },
            }
        };
        std::fs::create_dir_all(&config.dir).map_err(io("creating the metadata log"))?;
        listener.set_nonblocking(true).map_err(io("the controller listener"))?;
        let id = node_id(config.node_id);
        let admitted = admission::read_mark(&config.dir, id).map_err(io("the admission mark"))?;
        let returning = admission::read_returning(&config.dir).map_err(io("the former role"))?;
        let directory = admission::read_directory(&config.dir, config.advertised.directory);
        config.advertised.directory = directory.map_err(io("the directory's id"))?;
        let cluster_id = config.cluster_id.clone().unwrap_or_default();
        let (machine, state) =
            MachineState::open(&config.dir, &cluster_id).map_err(io("opening the snapshot"))?;
        let log = LogStore::open(&config.dir).map_err(io("opening the metadata log"))?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .max_blocking_threads(BLOCKING_THREADS_MAX)
            .thread_name("quorum-pool")
            .build()
            .map_err(io("the quorum's runtime"))?;
        let core = Arc::new(Core {
            id,
            dialer: Dialer {
                identity: Arc::new(identity(&config)),
                addresses: Arc::new(AddressBook::new(&config.voters)),
                connect_timeout: config.timing.connect_timeout,
            },
            log,
            machine: state,
            controller,
            raft: OnceLock::new(),
            admitted: Mutex::new(admitted),
            admission: Notify::new(),
            returning: AtomicBool::new(returning),
            suspicion: Arc::default(),
            leadership: watch::Sender::default(),
            reign: Mutex::new(None),
            session: watch::Sender::default(),
            connection: Mutex::new(None),
            incoming_snapshot: Mutex::new(None),
            members: tokio::sync::Mutex::new(()),
            stop: watch::Sender::new(false),
            config,
        });
        let followers = Arc::new(Followers::default());
        let (stopped_tx, stopped) = watch::channel(false);
        let node = Node { core: core.clone(), followers: followers.clone(), machine };
        std::thread::Builder::new()
            .name("quorum".into())
            .spawn(move || {
                raise_priority();
                runtime.block_on(node.run(listener));
                runtime.shutdown_timeout(Duration::from_secs(1));
                stopped_tx.send_replace(true);
            })
            .map_err(|error| StartError::Io { what: "the quorum's thread".into(), error })?;
        Ok(Quorum { inner: Arc::new(Inner { core, followers, stopped }) })
    }

    /// The image after the last applied entry. Costs a few nanoseconds.
    pub fn image(&self) -> Arc<Image> {
        self.inner.core.machine.image()
    }

    /// Metadata offset of [`Quorum::image`]: index of the last applied entry, -1 before the first.
    pub fn applied_offset(&self) -> i64 {
        self.inner.core.machine.applied_offset()
    }

    /// Committed entries that did not fit the metadata and were left out by every node, since this
    /// one started: always 0, unless the controller decided wrongly.
    pub fn rejected_entries(&self) -> u64 {
        self.inner.core.machine.rejected_entries()
    }

    /// Set for good when this release cannot read what comes next in the metadata: the image stands
    /// still from then on. The node keeps voting and storing the log, and is never the controller.
    pub fn unreadable(&self) -> watch::Receiver<Option<Arc<Unreadable>>> {
        self.inner.core.machine.unreadable()
    }

    /// Changes once per applied batch; a slow reader sees the latest image only and finds out by
    /// diff what changed.
    pub fn images(&self) -> watch::Receiver<Arc<Image>> {
        self.inner.core.machine.images()
    }

    pub fn leadership(&self) -> watch::Receiver<Leadership> {
        self.inner.core.leadership.subscribe()
    }

    /// This node's session with the active controller. It is opened, and opened again after it
    /// broke, by the quorum itself.
    pub fn session(&self) -> watch::Receiver<Session> {
        self.inner.core.session.subscribe()
    }

    /// Commits the records as one entry and waits until this node's image has them. Returns the
    /// entry's metadata offset. `term` is the one of the [`Leadership`] under which the records
    /// were decided: in any other term nothing is written. Records that build on others are
    /// proposed when those are in the image. Needs a tokio runtime with time.
    pub async fn propose(
        &self,
        term: u64,
        records: Vec<MetadataRecord>,
    ) -> Result<u64, ProposeError> {
        let core = &self.inner.core;
        let records = Bytes::from(metadata::encode_records(&records));
        if records.len() > RECORDS_BYTES_MAX {
            let (bytes, max) = (records.len(), RECORDS_BYTES_MAX);
            return Err(ProposeError::TooLarge { bytes, max });
        }
        let raft = core.raft.get().ok_or(ProposeError::NotLeader { leader: None })?;
        let deadline = tokio::time::Instant::now() + core.config.timing.request_timeout;
        loop {
            let (responder, answer) = ProgressResponder::complete_only();
            let write = raft.write(Records(records.clone())).with_leader(term);
            write.responder(responder).await.map_err(|_| ProposeError::Stopped)?;
            let answered = tokio::time::timeout_at(deadline, answer).await;
            let written = match answered {
                Err(_) => return Err(ProposeError::OutcomeUnknown),
                Ok(Err(_)) => return Err(ProposeError::OutcomeUnknown),
                Ok(Ok(written)) => written,
            };
            let error = match written {
                Ok(written) => match written.data {
                    Outcome::Applied => return Ok(written.log_id.index),
                    Outcome::Rejected(why) => return Err(ProposeError::Rejected(why)),
                },
                Err(error) => error,
            };
            let ClientWriteError::ForwardToLeader(forward) = error else {
                return Err(ProposeError::OutcomeUnknown);
            };
            // A leader takes nothing before its quorum answered a heartbeat: nothing was written.
            let early = forward.reason == ForwardReason::LeaseExpired
                && core.leadership.borrow().term == term
                && core.leadership.borrow().is_self
                && tokio::time::Instant::now() < deadline;
            if !early {
                let leader = core.elsewhere(forward.leader_id);
                return Err(ProposeError::NotLeader { leader });
            }
            tokio::time::sleep(LEASE_PAUSE).await;
        }
    }

    /// Sends a request to the active controller on this node's session. Fails with
    /// [`CallError::NoLeader`] at once when nobody leads or this node itself does. The answer may
    /// take `patience` longer than usual.
    pub async fn call_leader(
        &self,
        payload: Bytes,
        patience: Duration,
    ) -> Result<Bytes, CallError> {
        let core = &self.inner.core;
        let connection = core.connection.lock().clone().ok_or(CallError::NoLeader)?;
        let timeout = core.config.timing.request_timeout + patience;
        connection.call(kind::CONTROLLER, payload, timeout).await
    }

    /// Leader only: adds an observer, or changes its address. Nodes do this by themselves.
    pub async fn add_observer(&self, id: BrokerId, at: NodeAddress) -> Result<(), MemberError> {
        members::add_observer(&self.inner.core, node_id(id), at).await
    }

    /// Leader only: makes an observer a voter (Kafka's AddRaftVoter), once it has caught up, for
    /// which it gets `patience`.
    pub async fn add_voter(&self, id: BrokerId, patience: Duration) -> Result<(), MemberError> {
        members::add_voter(&self.inner.core, node_id(id), patience).await
    }

    /// Leader only: makes a voter other than itself an observer (Kafka's RemoveRaftVoter).
    pub async fn remove_voter(&self, id: BrokerId) -> Result<(), MemberError> {
        members::remove_voter(&self.inner.core, node_id(id)).await
    }

    /// Leader only: forgets a node, voter or observer, whose broker was unregistered for good.
    pub async fn remove_member(&self, id: BrokerId) -> Result<(), MemberError> {
        members::remove_member(&self.inner.core, node_id(id)).await
    }

    pub fn status(&self) -> QuorumStatus {
        status::status(&self.inner.core, &self.inner.followers)
    }

    /// Gives the leadership to the most advanced other voter, if this node leads and there is
    /// one. Called before a controlled shutdown, so that no election timeout passes.
    pub async fn resign(&self) {
        leadership::resign(&self.inner.core).await;
    }

    /// Stops everything in order; files are synced. Idempotent. On a full disk what waits to be
    /// written is given up: nobody was told that it is.
    pub async fn shutdown(&self) {
        self.inner.core.stop.send_replace(true);
        let mut stopped = self.inner.stopped.clone();
        // An error inside means that the thread is gone already.
        let stopping = tokio::time::timeout(STOP_TIMEOUT, stopped.wait_for(|stopped| *stopped));
        if stopping.await.is_err() {
            tracing::warn!("the metadata log did not come to its end");
        }
    }
}

/// Puts the calling thread before the data plane's. Without the right to do so it stays as it is,
/// which the default times allow for.
pub fn raise_priority() {
    rustix::process::setpriority_process(None, NICE).ok();
}

fn identity(config: &QuorumConfig) -> Identity {
    Identity {
        node: node_id(config.node_id),
        cluster_id: config.cluster_id.clone(),
        directory: config.advertised.directory,
        guard: config.guard.clone(),
        acceptor: config.acceptor.clone(),
        connector: config.connector.clone(),
        incarnation: uuid::Uuid::new_v4().as_u64_pair().0,
    }
}

fn check(config: &QuorumConfig) -> Result<(), StartError> {
    let invalid = |what: &str| Err(StartError::Invalid(what.to_owned()));
    let voters = &config.voters;
    if voters.is_empty() {
        return invalid("no voters are configured (controller.quorum.voters)");
    }
    if config.node_id.0 < 0 || voters.iter().any(|v| v.id.0 < 0) {
        return invalid("node ids are not negative");
    }
    let unique: std::collections::BTreeSet<_> = voters.iter().map(|v| v.id).collect();
    if unique.len() != voters.len() {
        return invalid("a voter is configured twice");
    }
    Ok(())
}

/// What the quorum's thread runs.
struct Node {
    core: Arc<Core>,
    followers: Arc<Followers>,
    machine: Machine,
}

impl Node {
    async fn run(self, listener: TcpListener) {
        let core = self.core.clone();
        let mut stop = core.stop.subscribe();
        let service = Arc::new(Service(Arc::downgrade(&core)));
        let listener = match tokio::net::TcpListener::from_std(listener) {
            Ok(listener) => listener,
            Err(error) => crate::fatal::fatal_raft(&error),
        };
        tokio::select! {
            () = rpc::serve(listener, core.dialer.identity.clone(), service) => {}
            () = self.take_part() => {}
            _ = stop.wait_for(|stop| *stop) => {}
        }
        *core.connection.lock() = None;
        if let Some(raft) = core.raft.get() {
            raft.shutdown().await.ok();
        }
        core.log.close().await;
        core.leadership.send_modify(|l| *l = Leadership { term: l.term, ..Leadership::default() });
    }

    async fn take_part(self) {
        let core = self.core;
        if let Err(error) = admission::admit(&core).await {
            crate::fatal::fatal_raft(&error);
        }
        let config = match raft_config(&core.config).validate() {
            Ok(config) => Arc::new(config),
            Err(error) => crate::fatal::fatal_raft(&error),
        };
        let network = Network::new(core.dialer.clone(), core.suspicion.clone());
        let raft = Raft::new(core.id, config, network, core.log.clone(), self.machine).await;
        let raft = match raft {
            Ok(raft) => raft,
            Err(error) => crate::fatal::fatal_raft(&error),
        };
        let alone = core.metrics_of(&raft).membership_config.voter_ids().eq([core.id]);
        if alone {
            // Nobody to wait for: lead at once instead of after the election timeout.
            raft.trigger().elect(false).await.ok();
        }
        core.raft.set(raft.clone()).ok();
        tokio::join!(
            admission::initialize(&core, &raft),
            admission::stay_member(core.clone()),
            leadership::run(core.clone(), self.followers),
            pace::run(core.clone()),
            leadership::take_due_snapshots(core.clone()),
            members::upkeep(core.clone()),
            session::run(core.clone()),
            waiting::run(core.clone()),
        );
    }
}

fn raft_config(config: &QuorumConfig) -> Config {
    let timing = &config.timing;
    let ms = |duration: Duration| duration.as_millis() as u64;
    // Here it is only what ticks and the patience with one message follow from: `pace` sends the
    // heartbeats. It has to lie below the shortest election timeout.
    let heartbeat = timing.heartbeat.max(timing.election_timeout_min * 3 / 4);
    Config {
        cluster_name: "metadata".to_owned(),
        heartbeat_interval: ms(heartbeat),
        election_timeout_min: ms(timing.election_timeout_min),
        election_timeout_max: ms(timing.election_timeout_max),
        install_snapshot_timeout: 10_000,
        max_payload_entries: 256,
        snapshot_policy: SnapshotPolicy::LogsSinceLast(config.snapshot_entries),
        max_in_snapshot_log_to_keep: ENTRIES_KEPT.min(config.snapshot_entries),
        purge_batch_size: config.snapshot_entries.clamp(1, 256),
        enable_pre_vote: Some(true),
        // A leader that lost its quorum lets the others elect, in spite of one-way partitions.
        quorum_loss_probe_interval: Some(ms(timing.election_timeout_max) * 4),
        // A restarted leader campaigns like everybody: its controller begins a new epoch.
        enable_leader_restore: Some(false),
        ..Config::default()
    }
}
