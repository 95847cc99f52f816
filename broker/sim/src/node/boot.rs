//! The assembly of a broker's process from what ships, as `broker` does it, with the world in the
//! place of disks, sockets, threads and Raft.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use base::{BrokerEpoch, BrokerId, ErrorCode};
use bytes::Bytes;
use commitlog::LogContext;
use commitlog::fs::MemFs;
use config::Config;
use control::broker_session::{BrokerSession, Identity, Presence, Standing};
use control::controller_client::{ControllerClient, Road};
use control::controller_task::{ControllerMailbox, ControllerTask, MetadataLog};
use control::isr_task;
use coordination::GroupCoordinator;
use metadata::{ControllerError, Endpoint, Image, MetadataRecord, VoterChange};
use process::BlockingPool;
use process::metrics::Metrics;
use process::shutdown::Shutdown;
use quorum::{BoxFuture, CallError, Leadership, ProposeError, Session};
use storage::Storage;
use storage::fetch::FetchSessions;
use storage::follower;
use storage::log_dirs::{LogDirs, WatchedFs};
use storage::partition::{
    Outbox, Partitions, Recovery, apply_images, load_logs, write_meta_properties,
};
use tokio::sync::{oneshot, watch};

use super::link::Dialer;
use super::link::Serving;
use super::outside::{Outside, Post};
use crate::node::seen::Eyes;
use crate::plan::Plan;

pub(crate) const LOG_DIR: &str = "/logs";

/// The parts of a live broker that the world deals with.
pub(crate) struct Process {
    pub(crate) outside: Outside,
    pub(crate) storage: Arc<Storage>,
    pub(crate) groups: GroupCoordinator,
    pub(crate) sessions: Arc<FetchSessions>,
    pub(crate) reads: BlockingPool,
    pub(crate) controller: ControllerClient,
    pub(crate) mailbox: ControllerMailbox,
    pub(crate) images: watch::Sender<Arc<Image>>,
    pub(crate) leadership: watch::Sender<Leadership>,
    pub(crate) quorum_session: watch::Sender<Session>,
    pub(crate) standing: watch::Receiver<Standing>,
    _presence: watch::Sender<Presence>,
}

const HEARTBEAT_MS: u64 = 150;

/// The quorum, as a process sees it.
#[derive(Clone)]
struct Raft {
    outside: Outside,
    images: watch::Receiver<Arc<Image>>,
    leadership: watch::Receiver<Leadership>,
}

impl MetadataLog for Raft {
    fn image(&self) -> Arc<Image> {
        self.images.borrow().clone()
    }

    fn propose(
        &self,
        term: u64,
        records: Vec<MetadataRecord>,
    ) -> BoxFuture<Result<u64, ProposeError>> {
        let (done, outcome) = oneshot::channel();
        self.outside.post(Post::Propose { term, records, done });
        Box::pin(async { outcome.await.unwrap_or(Err(ProposeError::OutcomeUnknown)) })
    }

    /// Raft is not simulated, and nobody votes.
    fn change_voters(&self, _: VoterChange) -> BoxFuture<Result<(), ControllerError>> {
        Box::pin(async { Err(ErrorCode::InvalidRequest.into()) })
    }
}

impl Road for Raft {
    fn leadership(&self) -> watch::Receiver<Leadership> {
        self.leadership.clone()
    }

    fn call_leader(&self, payload: Bytes, _: Duration) -> BoxFuture<Result<Bytes, CallError>> {
        let (answer, answered) = oneshot::channel();
        self.outside.post(Post::Call { payload, answer });
        Box::pin(async { answered.await.unwrap_or(Err(CallError::NoLeader)) })
    }
}

/// A broker's configuration: small, so that segments roll and followers need several fetches within
/// one run, and quick, as a run takes seconds.
pub(crate) fn config(node: usize, plan: &Plan) -> Arc<Config> {
    let id = node.to_string();
    let properties = [
        ("node.id", id.as_str()),
        ("listeners", "PLAINTEXT://127.0.0.1:0,CONTROLLER://127.0.0.1:0"),
        ("advertised.listeners", "PLAINTEXT://127.0.0.1:0"),
        ("controller.listener.names", "CONTROLLER"),
        ("log.dirs", LOG_DIR),
        ("metadata.log.dir", "/metadata"),
        ("num.recovery.threads.per.data.dir", "1"),
    ];
    let properties: BTreeMap<String, String> =
        properties.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    let mut config = match Config::from_properties(properties) {
        Ok(config) => config,
        Err(error) => panic!("the simulator's own configuration: {error}"),
    };
    let logs = [
        ("log.segment.bytes", "3000"),
        ("log.index.size.max.bytes", "1200"),
        ("log.index.interval.bytes", "500"),
        ("log.retention.ms", "-1"),
        ("log.message.timestamp.after.max.ms", "9223372036854775807"),
    ];
    let logs = logs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned()));
    config.explicit = Arc::new(config.explicit.iter().map(clone).chain(logs).collect());
    config.log.reserve_bytes = 0;
    config.replica.lag_time_ms_max = plan.lag_time_max_ms;
    config.replica.fetch_bytes_max = 600;
    config.replica.fetch_response_bytes_max = 1_500;
    config.replica.fetch_wait_ms_max = 200;
    config.replica.fetch_backoff_ms = 100;
    config.replica.rack_aware_reads = plan.rack_aware_reads;
    config.topic.replication_factor = plan.replication_factor as i16;
    config.topic.imbalance_check_ms = 3_000;
    config.group.initial_rebalance_delay_ms = 100;
    config.group.session_timeout_ms_min = 500;
    config.offsets.commit_timeout_ms = 1_000;
    Arc::new(config)
}

fn clone((key, value): (&String, &String)) -> (String, String) {
    (key.clone(), value.clone())
}

/// One registry for all: nobody reads it, and it takes long to make.
fn metrics() -> Arc<Metrics> {
    static METRICS: OnceLock<Arc<Metrics>> = OnceLock::new();
    let make = || match Metrics::new() {
        Ok(metrics) => Arc::new(metrics),
        Err(error) => panic!("the registry of metrics: {error}"),
    };
    METRICS.get_or_init(make).clone()
}

fn pool() -> BlockingPool {
    static POOL: OnceLock<BlockingPool> = OnceLock::new();
    // Without threads: in a simulation it runs its work as tasks.
    let make = || match BlockingPool::start("sim", 0) {
        Ok(pool) => pool,
        Err(error) => panic!("a pool without threads: {error}"),
    };
    POOL.get_or_init(make).clone()
}

impl Process {
    /// Opens the logs and starts the tasks. Within the process' place in the runtime.
    pub(crate) fn start(
        config: Arc<Config>,
        outside: Outside,
        eyes: Eyes,
        image: Arc<Image>,
        spawn: &mut dyn FnMut(BoxFuture<()>),
    ) -> Result<Process, String> {
        let partitions = open(&config, eyes)?;
        let (partitions, clean_epoch) = (Arc::new(partitions.0), partitions.1);
        let shutdown = Shutdown::new();
        let storage = Arc::new(Storage {
            id: config.broker_id,
            config: config.clone(),
            shutdown: shutdown.clone(),
            metrics: metrics(),
            partitions: partitions.clone(),
            throttles: Arc::default(),
        });
        let (images, images_seen) = watch::channel(image);
        let (leadership, leadership_seen) = watch::channel(Leadership::default());
        let (quorum_session, session_seen) =
            watch::channel(Session { leader: None, connected: false, generation: 0 });
        let (presence, presence_seen) = watch::channel(presence());
        let (mailbox, inbox) = ControllerMailbox::new();
        let raft = Raft {
            outside: outside.clone(),
            images: images_seen.clone(),
            leadership: leadership_seen.clone(),
        };
        let controller = ControllerClient::new(Arc::new(raft.clone()), mailbox.clone());
        let groups = GroupCoordinator::new(&config, partitions.outbox().clone());
        let task = ControllerTask::over(&config, Box::new(raft), leadership_seen, inbox, metrics());
        let (session, standing) = BrokerSession::new(
            identity(config.broker_id, clean_epoch),
            presence_seen,
            false,
            controller.clone(),
            partitions.clone(),
            HEARTBEAT_MS,
            session_seen,
        );
        spawn(Box::pin(task.run(shutdown.clone())));
        spawn(Box::pin(session.run(shutdown.clone())));
        spawn(Box::pin(isr_task::run(storage.clone(), controller.clone())));
        spawn(Box::pin(follower::run(storage.clone(), Arc::new(Dialer(outside.clone())))));
        spawn(Box::pin(groups.clone().run(shutdown.clone())));
        spawn(Box::pin(async move { apply_images(&partitions, images_seen, &shutdown).await }));
        Ok(Process {
            sessions: Arc::new(FetchSessions::new(config.replica.fetch_sessions_max, metrics())),
            reads: pool(),
            outside,
            storage,
            groups,
            controller,
            mailbox,
            images,
            leadership,
            quorum_session,
            standing,
            _presence: presence,
        })
    }
}

/// The partitions on the disk, and the broker epoch of a clean shutdown.
fn open(config: &Arc<Config>, eyes: Eyes) -> Result<(Partitions, Option<BrokerEpoch>), String> {
    let dirs = LogDirs::new(&config.log_dirs, &config.metadata_log_dir, config.log.reserve_bytes);
    let dirs = Arc::new(dirs);
    let disk: MemFs = eyes.fs.clone();
    let context = LogContext::new(Arc::new(WatchedFs::new(Arc::new(disk), dirs.clone())), 64);
    let loaded = load_logs(config, &context, dirs, &Recovery::default());
    let loaded = loaded.map_err(|error| error.to_string())?;
    write_meta_properties(config, &context, "sim", &loaded.directory_ids)
        .map_err(|error| error.to_string())?;
    let clean_epoch = loaded.clean_shutdown_epoch;
    let outbox = Arc::new(Outbox::observed(metrics(), Arc::new(eyes)));
    Ok((Partitions::new(config.clone(), context, outbox, loaded), clean_epoch))
}

fn presence() -> Presence {
    let endpoint = Endpoint {
        name: "PLAINTEXT".into(),
        host: "sim".into(),
        port: 9092,
        security_protocol: "PLAINTEXT".into(),
    };
    Presence { listeners: vec![endpoint], rack: None }
}

fn identity(broker_id: BrokerId, clean_shutdown_epoch: Option<BrokerEpoch>) -> Identity {
    Identity {
        broker_id,
        cluster_id: "sim".into(),
        log_dirs: Vec::new(),
        log_dir_paths: Vec::new(),
        cordoned_log_dirs: "".into(),
        clean_shutdown_epoch,
    }
}

impl Process {
    pub(crate) fn serving(&self) -> Serving {
        let (storage, sessions) = (self.storage.clone(), self.sessions.clone());
        Serving { storage, sessions, reads: self.reads.clone() }
    }
}
