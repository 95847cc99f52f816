//! The only constructor of the object graph, in start order; and the way back, in reverse.
//!
//! Start: configuration, listeners bound, HTTP for probes, logs recovered, quorum, broker, tasks,
//! registration, and only then connections are served. Stop: leaderships are handed over while
//! clients are served, connections drain, background work ends, logs are closed, and the
//! clean-shutdown markers come last.

use std::net::{Ipv6Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result};
use base::TopicId;
use commitlog::LogContext;
use commitlog::fs::DiskFs;
use config::{Config, Place, cluster_id_of};
use control::broker_session::{BrokerSession, Identity, Presence, Standing};
use control::controller_client::ControllerClient;
use control::controller_task::{ControllerInbox, ControllerMailbox, ControllerTask};
use control::isr_task;
use control::pod_config::PodConfig;
use coordination::{GroupCoordinator, TransactionCoordinator};
use metadata::config::CORDONED_LOG_DIRS;
use process::metrics::Metrics;
use process::shutdown::{Shutdown, Signals};
use process::{BlockingPool, logging};
use quorum::secret::Guard;
use quorum::{NodeAddress, Quorum, QuorumConfig, StartError, Timing, Unreadable, Voter};
use server::authorization::Authorization;
use server::net::{self, BoundListener, Budget, Places};
use server::peer::requests::Peers;
use server::peer::{Leaders, Verifier};
use server::producer_ids::ProducerIds;
use server::readiness::Startup;
use server::security::Gates;
use server::suspects::{self, Suspects};
use server::txn_outside::TxnOutside;
use server::{Broker, certificates, http};
use storage::fetch::FetchSessions;
use storage::log_dirs::{LogDirs, WatchedFs};
use storage::partition::{self, DirLock, LoadedLogs, Outbox, Partitions};
use storage::{Storage, follower};
use tokio::runtime::Runtime;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::control_runtime::Control;
use crate::presence::presence;
use crate::{background, huge_pages, internal_secret, open_files};

/// What looks for something on disk, beside those who read much: it must not wait for them.
const LOOKUP_THREADS: usize = 2;
/// How long the controller may take to move the leaderships away.
const CONTROLLED_SHUTDOWN_MAX: Duration = Duration::from_secs(30);
/// Without a controller for this long, a stopping broker waits no longer for one: several
/// elections would have had their time.
const CONTROLLER_GONE: Duration = Duration::from_secs(3);
/// How long connections may take to send what they owe.
const DRAIN_MAX: Duration = Duration::from_secs(5);

/// Runs one broker until SIGTERM or SIGINT.
pub fn run(files: &[PathBuf], pod: Option<&Path>, overrides: &[String]) -> Result<()> {
    let config = Arc::new(Config::load(files, overrides)?);
    logging::start();
    open_files::raise_limit();
    huge_pages::refuse();
    for key in &config.without_effect {
        tracing::warn!(key, "this configuration key has no effect here");
    }
    for (key, why) in &config.ignored {
        tracing::warn!(key, "this configuration key is ignored: {why}");
    }
    let runtime = data_plane(config.worker_threads)?;
    let pod = pod.map(|file| PodConfig::new(file, config.clone()));
    let stopped = runtime.block_on(async {
        let mut signals = Signals::watch().context("watch SIGTERM and SIGINT")?;
        // Recovery blocks, and may take long enough for somebody to end it.
        let starting = tokio::task::spawn_blocking(move || start_in(config, pod));
        let running = tokio::select! {
            running = starting => running.context("start")??,
            () = signals.received() => {
                tracing::info!("stopped while starting");
                return Ok(());
            }
        };
        running.wait_and_stop(signals).await
    });
    // What still blocks then is a start that was given up: any point of it is a good end.
    runtime.shutdown_background();
    stopped
}

/// Runs `broker dev`.
pub fn run_dev(args: dev::DevArgs) -> Result<()> {
    logging::start();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .context("start the runtime")?;
    runtime.block_on(dev::run(args))
}

fn data_plane(threads: usize) -> Result<Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(threads)
        .thread_name("network")
        .enable_all()
        .build()
        .context("start the runtime")
}

/// A broker that serves.
pub struct Running {
    pub broker: Arc<Broker>,
    /// Addresses of the client listeners, in the order of the configuration.
    pub addresses: Vec<std::net::SocketAddr>,
    pub http_address: Option<std::net::SocketAddr>,
    /// Probes are answered longer than anything else is served.
    http: Shutdown,
    standing: watch::Receiver<Standing>,
    tasks: JoinSet<()>,
    threads: Vec<JoinHandle<()>>,
    control: Control,
    /// Until everything is written, the marker of the clean shutdown included.
    dir_locks: Vec<DirLock>,
}

/// What is bound before anything else starts, so that a taken port is the first error.
struct Bound {
    clients: Vec<BoundListener>,
    controller: TcpListener,
    http: Option<TcpListener>,
}

impl Bound {
    fn bind(config: &Config) -> Result<Bound> {
        let backlog = config.net.listen_backlog;
        let bind = |endpoint: &config::Endpoint| {
            net::bind(endpoint, backlog).with_context(|| format!("bind listener {endpoint}"))
        };
        let clients = config.listeners.iter().map(bind).collect::<Result<Vec<_>>>()?;
        let controller = bind(&config.controller_listener)?.socket;
        let http = match config.http_listener {
            Some(address) => {
                let any = address.ip() == Ipv6Addr::UNSPECIFIED;
                let socket = match any {
                    true => net::bind_any(address.port(), backlog),
                    false => TcpListener::bind(address),
                };
                let socket =
                    socket.with_context(|| format!("bind barnabas.http.listener {address}"))?;
                socket.set_nonblocking(true).context("set up the http listener")?;
                Some(socket)
            }
            None => None,
        };
        Ok(Bound { clients, controller, http })
    }
}

/// Starts a broker on the current runtime. Returns when it listens; registration goes on behind.
pub fn start(config: Arc<Config>) -> Result<Running> {
    start_in(config, None)
}

/// Starts a broker whose place the file of a pod tells.
fn start_in(config: Arc<Config>, pod: Option<PodConfig>) -> Result<Running> {
    let bound = Bound::bind(&config)?;
    let gates = Gates::new(&config)?;
    let http_address = bound.http.as_ref().and_then(|socket| socket.local_addr().ok());
    let (startup, shutdown) = (Arc::new(Startup::default()), Shutdown::new());
    let (mut tasks, control) =
        (JoinSet::new(), Control::start().context("start the control threads")?);
    let http = Shutdown::new();
    if let Some(socket) = bound.http {
        serve_http(&control, &mut tasks, socket, &startup, &http);
    }
    let dirs = LogDirs::new(&config.log_dirs, &config.metadata_log_dir, config.log.reserve_bytes);
    let dirs = Arc::new(dirs);
    let fs = WatchedFs::new(Arc::new(DiskFs), dirs.clone());
    let logs = LogContext::new(Arc::new(fs), open_files::cached_max());
    let mut loaded =
        partition::load_logs(&config, &logs, dirs, &startup.recovery).context("open the logs")?;
    let cluster_id = cluster_id(&config, &loaded);
    let directory_ids = loaded.directory_ids.clone();
    partition::write_meta_properties(&config, &logs, &cluster_id, &directory_ids)?;
    let clean_shutdown_epoch = loaded.clean_shutdown_epoch;
    let dir_locks = std::mem::take(&mut loaded.locks);

    let (mailbox, inbox) = ControllerMailbox::new();
    let security = Security { guard: internal_secret::guard(&config)?, gates };
    let directory = metadata_directory(&config, &directory_ids);
    let quorum = match start_quorum(
        &config,
        &cluster_id,
        directory,
        &security,
        bound.controller,
        &mailbox,
    ) {
        Err(StartError::Unreadable(unreadable)) => wait_for_upgrade(&startup, unreadable),
        started => started?,
    };
    let broker = build(config.clone(), security, shutdown, quorum, mailbox, logs, loaded)?;
    startup.finished(broker.clone());
    let identity = Identity {
        broker_id: config.broker_id,
        cluster_id: cluster_id.as_str().into(),
        log_dirs: directory_ids.into_iter().map(|(_, id)| id).collect(),
        log_dir_paths: config.log_dirs.iter().map(|dir| dir.to_string_lossy().into()).collect(),
        cordoned_log_dirs: config.value(CORDONED_LOG_DIRS).unwrap_or_default().into(),
        clean_shutdown_epoch,
    };
    let mut running = Running {
        addresses: bound.clients.iter().map(|listener| listener.address).collect(),
        http_address,
        http,
        standing: watch::channel(Standing { epoch: -1, fenced: true, may_stop: false }).1,
        tasks,
        threads: Vec::new(),
        control,
        dir_locks,
        broker,
    };
    running.start_threads()?;
    let (presence, awaited) = running.keep_presence(&config, pod, &bound.clients);
    running.start_control(&config, identity, presence, awaited, inbox);
    running.start_data(bound.clients);
    let addresses = &running.addresses;
    tracing::info!(id = %config.broker_id, %cluster_id, ?addresses, "listening");
    Ok(running)
}

/// Keeps the process, its locks and its probes until it is told to end: a restart would find the
/// same files. Nothing in them is touched.
fn wait_for_upgrade(startup: &Startup, unreadable: Unreadable) -> ! {
    tracing::error!(%unreadable, "this broker waits to be upgraded");
    startup.cannot_read(unreadable);
    loop {
        std::thread::park();
    }
}

/// Once the metadata cannot be read further, this broker knows nothing of what follows: it leaves
/// its clients and its partitions to the others. Its quorum and its probes go on.
async fn retire_if_unreadable(broker: Arc<Broker>) {
    let mut unreadable = broker.quorum.unreadable();
    let found = async move { unreadable.wait_for(Option::is_some).await.is_ok() };
    tokio::select! {
        found = found => {
            if found {
                tracing::error!("this broker serves nobody until it is upgraded");
                broker.metrics.waits_for_upgrade.set(1);
                broker.shutdown.close_connections();
            }
        }
        () = broker.shutdown.connections_closing() => {}
    }
}

fn serve_http(
    control: &Control,
    tasks: &mut JoinSet<()>,
    socket: TcpListener,
    startup: &Arc<Startup>,
    shutdown: &Shutdown,
) {
    let (startup, shutdown) = (startup.clone(), shutdown.clone());
    control.run(tasks, async move {
        let serving = async { http::serve(startup, socket.try_into()?, shutdown).await };
        if let Err(error) = serving.await {
            tracing::error!(%error, "http listener failed");
        }
    });
}

/// Whom this broker believes.
struct Security {
    guard: Guard,
    gates: Gates,
}

fn build(
    config: Arc<Config>,
    Security { guard, gates }: Security,
    shutdown: Shutdown,
    quorum: Quorum,
    mailbox: ControllerMailbox,
    logs: LogContext,
    loaded: LoadedLogs,
) -> Result<Arc<Broker>> {
    let metrics = Arc::new(Metrics::new().context("register metrics")?);
    let pool = |name, threads| {
        BlockingPool::start(name, threads).with_context(|| format!("start the threads of {name}"))
    };
    let outbox = Arc::new(Outbox::new(metrics.clone()));
    let groups = GroupCoordinator::new(&config, outbox.clone());
    let transactions = TransactionCoordinator::new(&config, outbox.clone());
    let partitions = Partitions::new(config.clone(), logs, outbox, loaded);
    let storage = Arc::new(Storage {
        id: config.broker_id,
        config: config.clone(),
        shutdown: shutdown.clone(),
        metrics: metrics.clone(),
        partitions: Arc::new(partitions),
        throttles: Arc::default(),
    });
    let controller = ControllerClient::new(Arc::new(quorum.clone()), mailbox);
    let peers = Arc::new(Peers::new(storage.clone(), guard.clone(), gates.brokers.clone()));
    Ok(Arc::new(Broker {
        id: config.broker_id,
        authorization: config.authorizer.clone().map(|a| Arc::new(Authorization::new(a))),
        shutdown,
        producer_ids: ProducerIds::new(storage.clone(), controller.clone()),
        verifier: Verifier::new(storage.clone(), peers.clone()),
        peers,
        controller,
        quorum,
        storage,
        groups,
        transactions,
        fetch_sessions: FetchSessions::new(config.replica.fetch_sessions_max, metrics.clone()),
        suspects: Suspects::default(),
        strangers: internal_secret::strangers(&guard),
        gates,
        quotas: server::quotas::Quotas::new(&config.quotas, metrics.clone()),
        places: Places::new(open_files::connections_max(), metrics.connections.clone()),
        memory: Budget::new(config.net.request_memory_bytes, config.net.request_bytes_max),
        read_ahead: pool("read-ahead", config.net.io_threads)?,
        lookups: pool("lookups", LOOKUP_THREADS)?,
        long_work: pool("long-work", config.worker_threads.div_ceil(2))?,
        probes: pool("probes", 1)?,
        reports: pool("reports", 1)?,
        metrics,
        guard,
        config,
    }))
}

fn start_quorum(
    config: &Config,
    cluster_id: &str,
    directory: TopicId,
    security: &Security,
    listener: TcpListener,
    mailbox: &ControllerMailbox,
) -> Result<Quorum, StartError> {
    let address = |error| StartError::Io { what: "the controller listener".into(), error };
    let bound = listener.local_addr().map_err(address)?;
    let advertised = &config.controller_advertised;
    let port = if advertised.port == 0 { bound.port() } else { advertised.port };
    let advertised = NodeAddress::new(advertised.host.clone(), port).in_directory(directory);
    let mut voters: Vec<Voter> = config
        .voters
        .iter()
        .map(|v| Voter { id: v.id, address: NodeAddress::new(v.host.clone(), v.port) })
        .collect();
    if voters.is_empty() && config.is_controller {
        // A single broker is its own quorum.
        let address = NodeAddress::new(advertised.host.clone(), port);
        voters.push(Voter { id: config.broker_id, address });
    }
    let place = |error| StartError::Io { what: "find the quorum's directory".into(), error };
    let dir = quorum::settle_dir(&config.metadata_log_dir).map_err(place)?;
    let mut quorum = QuorumConfig::new(config.broker_id, dir, advertised, voters);
    quorum.cluster_id = Some(cluster_id.to_owned());
    quorum.guard = security.guard.clone();
    (quorum.acceptor, quorum.connector) = security.gates.quorum.clone();
    quorum.may_begin = config.quorum.may_begin;
    let (heartbeat, election) = (config.quorum.heartbeat_ms, config.quorum.election_timeout_ms);
    if heartbeat > 0 && election > 0 {
        quorum.timing = Timing {
            heartbeat: Duration::from_millis(heartbeat),
            election_timeout_min: Duration::from_millis(election / 2),
            election_timeout_max: Duration::from_millis(election),
            ..Timing::default()
        };
    }
    Quorum::start(quorum, listener, Arc::new(mailbox.clone()))
}

/// The id of the directory that holds the metadata log: that of the log directory, or a new one
/// where it has its own. The quorum keeps it with its files.
fn metadata_directory(config: &Config, directories: &[(PathBuf, TopicId)]) -> TopicId {
    let known = directories.iter().find(|(dir, _)| *dir == config.metadata_log_dir);
    let new = || TopicId::from_random(uuid::Uuid::new_v4().as_u128());
    known.map_or_else(new, |(_, id)| *id)
}

/// The id on disk, else the configured one, else one that follows from the voters: brokers that are
/// told of the same voters belong to the same cluster.
fn cluster_id(config: &Config, loaded: &LoadedLogs) -> String {
    if let Some(id) = loaded.cluster_id.clone().or_else(|| config.cluster_id.clone()) {
        return id;
    }
    let mut voters: Vec<String> =
        config.voters.iter().map(|v| format!("{}@{}:{}", v.id, v.host, v.port)).collect();
    if voters.is_empty() {
        return base::TopicId::from_random(uuid::Uuid::new_v4().as_u128()).to_string();
    }
    voters.sort();
    cluster_id_of(&voters.join(","))
}

/// Waits until an image was applied; false if the broker stops before.
async fn has_metadata(broker: &Broker) -> bool {
    let mut applied = broker.storage.partitions.applied();
    tokio::select! {
        first = applied.wait_for(|offset| *offset >= 0) => first.is_ok(),
        () = broker.shutdown.connections_closing() => false,
    }
}

impl Running {
    fn start_threads(&mut self) -> Result<()> {
        let broker = self.broker.clone();
        let applier = std::thread::Builder::new().name("metadata".into()).spawn(move || {
            partition::run_applier(&broker.storage.partitions, &broker.quorum, &broker.shutdown);
        });
        self.threads.push(applier.context("start the metadata thread")?);
        self.threads.extend(background::start(&self.broker).context("start background threads")?);
        Ok(())
    }

    /// Where this broker is to be found, now and whenever the pod's file says something else; and
    /// whether the file will say that only soon.
    fn keep_presence(
        &mut self,
        config: &Config,
        pod: Option<PodConfig>,
        bound: &[BoundListener],
    ) -> (watch::Receiver<Presence>, bool) {
        let ports: Vec<u16> = bound.iter().map(|listener| listener.address.port()).collect();
        let Some(mut pod) = pod else {
            return (watch::channel(presence(config, &Place::of(config), &ports)).1, false);
        };
        let told = pod.look();
        let awaited = told.is_none() && pod.is_awaited();
        let place = told.unwrap_or_else(|| Place::of(config));
        let (sender, receiver) = watch::channel(presence(config, &place, &ports));
        let config = self.broker.config.clone();
        let told = move |place: &Place| presence(&config, place, &ports);
        self.tasks.spawn(pod.follow(place, told, sender, self.broker.shutdown.clone()));
        (receiver, awaited)
    }

    fn start_control(
        &mut self,
        config: &Config,
        identity: Identity,
        presence: watch::Receiver<Presence>,
        awaited: bool,
        inbox: ControllerInbox,
    ) {
        let broker = &self.broker;
        let controller =
            ControllerTask::new(config, broker.quorum.clone(), inbox, broker.metrics.clone());
        self.control.run(&mut self.tasks, controller.run(broker.shutdown.clone()));
        let (session, standing) = BrokerSession::new(
            identity,
            presence,
            awaited,
            broker.controller.clone(),
            broker.storage.partitions.clone(),
            config.session.heartbeat_interval_ms,
            broker.quorum.session(),
        );
        self.standing = standing;
        self.control.run(&mut self.tasks, session.run(broker.shutdown.clone()));
        self.control
            .run(&mut self.tasks, isr_task::run(broker.storage.clone(), broker.controller.clone()));
        self.control.run(&mut self.tasks, retire_if_unreadable(broker.clone()));
        self.tasks.spawn(set_strays_aside(broker.clone(), self.standing.clone()));
    }

    fn start_data(&mut self, clients: Vec<BoundListener>) {
        let storage = self.broker.storage.clone();
        let (guard, connector) = (self.broker.guard.clone(), self.broker.gates.brokers.clone());
        let leaders = Arc::new(Leaders::new(storage.clone(), guard, connector));
        self.tasks.spawn(follower::run(storage, leaders));
        self.tasks.spawn(self.broker.groups.clone().run(self.broker.shutdown.clone()));
        let outside = Arc::new(TxnOutside(self.broker.clone()));
        let (storage, shutdown) = (self.broker.storage.clone(), self.broker.shutdown.clone());
        self.tasks.spawn(self.broker.transactions.clone().run(storage, outside, shutdown));
        self.tasks.spawn(suspects::run(self.broker.clone()));
        self.tasks.spawn(certificates::watch(self.broker.clone()));
        for listener in clients {
            let broker = self.broker.clone();
            self.tasks.spawn(async move {
                // Connections wait in the backlog until there is something true to tell them.
                if !has_metadata(&broker).await {
                    return;
                }
                let shutdown = broker.shutdown.clone();
                if let Err(error) = net::serve(broker, listener).await {
                    tracing::error!(%error, "listener failed");
                    shutdown.start();
                }
            });
        }
        self.tasks.spawn(http::keep_lag(self.broker.clone()));
    }

    /// Serves until a signal or a fatal error, then stops in order.
    pub async fn wait_and_stop(self, mut signals: Signals) -> Result<()> {
        tokio::select! {
            () = signals.received() => {}
            () = self.broker.shutdown.started() => {
                if self.broker.quorum.unreadable().borrow().is_some() {
                    signals.received().await;
                }
            }
        }
        self.stop().await
    }

    /// Hands the leaderships over, drains, closes the logs.
    pub async fn stop(mut self) -> Result<()> {
        let broker = self.broker.clone();
        tracing::info!("shutting down");
        broker.shutdown.start();
        if broker.config.controlled_shutdown {
            let may_stop = self.standing.wait_for(|standing| standing.may_stop);
            let permitted = tokio::select! {
                permitted = may_stop => permitted.is_ok(),
                () = controller_is_gone(&broker.quorum) => false,
                () = tokio::time::sleep(CONTROLLED_SHUTDOWN_MAX) => false,
            };
            if !permitted {
                tracing::warn!("stop without the controller's permission");
            }
        }
        let epoch = self.standing.borrow().epoch;
        broker.quorum.resign().await;
        broker.shutdown.close_connections();
        self.http.close_connections();
        let drain = async { while self.tasks.join_next().await.is_some() {} };
        if tokio::time::timeout(DRAIN_MAX, drain).await.is_err() {
            self.tasks.abort_all();
        }
        broker.groups.close().await;
        broker.transactions.close().await;
        let threads = std::mem::take(&mut self.threads);
        let closing = broker.clone();
        let closed = tokio::task::spawn_blocking(move || {
            for thread in threads {
                thread.thread().unpark();
                // A panic there was reported when it happened.
                let _ = thread.join();
            }
            closing.storage.partitions.close(epoch)
        });
        closed.await.context("close the logs")??;
        broker.quorum.shutdown().await;
        drop(std::mem::take(&mut self.dir_locks));
        tracing::info!("stopped");
        Ok(())
    }
}

/// Completes when no controller could be reached for a while. When a whole cluster stops, the last
/// brokers have none left to ask, which those that are no voters do not see by an election.
async fn controller_is_gone(quorum: &Quorum) {
    let (mut leadership, mut session) = (quorum.leadership(), quorum.session());
    loop {
        let (leads, asks) = (*leadership.borrow_and_update(), *session.borrow_and_update());
        let is_there = leads.is_self || leads.leader.is_some() && asks.connected;
        let changed = async {
            tokio::select! {
                changed = leadership.changed() => changed.is_ok(),
                changed = session.changed() => changed.is_ok(),
            }
        };
        let goes_on = match is_there {
            true => changed.await,
            false => tokio::time::timeout(CONTROLLER_GONE, changed).await.unwrap_or(false),
        };
        if !goes_on {
            return;
        }
    }
}

/// Once this broker is unfenced, its image is current: logs that it does not know are strays.
async fn set_strays_aside(broker: Arc<Broker>, mut standing: watch::Receiver<Standing>) {
    let shutdown = broker.shutdown.clone();
    let unfenced = async move { standing.wait_for(|standing| !standing.fenced).await.is_ok() };
    tokio::select! {
        unfenced = unfenced => {
            if unfenced {
                let partitions = broker.storage.partitions.clone();
                broker.lookups.run(move || partitions.set_strays_aside()).await;
            }
        }
        () = shutdown.connections_closing() => {}
    }
}
