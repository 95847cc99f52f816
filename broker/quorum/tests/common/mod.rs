//! Nodes of a quorum in this process, over real TCP on loopback and real files.
#![allow(clippy::unwrap_used, dead_code)]

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use base::{BrokerId, TopicId};
use bytes::Bytes;
use metadata::{FeatureLevelRecord, MetadataRecord};
use quorum::secret::{Guard, Nonce, Secret};
use quorum::*;

/// Long enough for a machine that is busy with other tests.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// For what must be done again when the leadership moved meanwhile, as on a busy machine it may.
pub const ATTEMPTS: usize = 5;

#[derive(Default)]
pub struct Controller {
    pub events: Mutex<Vec<SessionEvent>>,
}

impl ControllerHandler for Controller {
    fn request(&self, from: BrokerId, _: u64, payload: Bytes) -> BoxFuture<Result<Bytes, String>> {
        Box::pin(async move {
            let mut answer = format!("{from}:").into_bytes();
            answer.extend_from_slice(&payload);
            Ok(Bytes::from(answer))
        })
    }

    fn session(&self, event: SessionEvent) {
        self.events.lock().unwrap().push(event);
    }
}

pub struct Cluster {
    pub root: tempfile::TempDir,
    pub voters: Vec<Voter>,
    pub nodes: BTreeMap<i32, Quorum>,
    pub controllers: BTreeMap<i32, Arc<Controller>>,
    pub snapshot_entries: u64,
    pub forget_after: Duration,
    pub may_begin: bool,
    pub guard: Guard,
    listeners: BTreeMap<i32, TcpListener>,
    ports: BTreeMap<i32, u16>,
}

impl Cluster {
    pub fn new(voters: i32) -> Cluster {
        let mut cluster = Cluster {
            root: tempfile::tempdir().unwrap(),
            voters: Vec::new(),
            nodes: BTreeMap::new(),
            controllers: BTreeMap::new(),
            snapshot_entries: 5_000,
            forget_after: Duration::from_secs(30),
            may_begin: true,
            guard: Guard::Strict(Secret::new(b"the secret of this cluster").unwrap()),
            listeners: BTreeMap::new(),
            ports: BTreeMap::new(),
        };
        for id in 0..voters {
            let voter = cluster.voter(id);
            cluster.voters.push(voter);
        }
        cluster
    }

    pub async fn started(voters: i32) -> Cluster {
        let mut cluster = Cluster::new(voters);
        for id in 0..voters {
            cluster.start(id);
        }
        cluster.leader().await;
        cluster
    }

    /// A node as lists of voters name it.
    pub fn voter(&mut self, id: i32) -> Voter {
        let port = match self.ports.get(&id) {
            Some(port) => *port,
            None => self.reserve(id),
        };
        Voter { id: BrokerId(id), address: NodeAddress::new("127.0.0.1", port) }
    }

    fn reserve(&mut self, id: i32) -> u16 {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        self.listeners.insert(id, listener);
        self.ports.insert(id, port);
        port
    }

    pub fn dir(&self, id: i32) -> PathBuf {
        self.root.path().join(format!("{id}")).join("__cluster_metadata-0")
    }

    /// The id of the node's disk: written beside its files, as `meta.properties` is, and gone with
    /// them.
    pub fn directory(&self, id: i32) -> TopicId {
        let dir = self.dir(id);
        std::fs::create_dir_all(&dir).unwrap();
        let path = dir.join("directory.id");
        if let Ok(text) = std::fs::read_to_string(&path) {
            return text.parse().unwrap();
        }
        let new = TopicId::from_random(rand_bits());
        std::fs::write(path, new.to_string()).unwrap();
        new
    }

    pub fn config(&self, id: i32) -> QuorumConfig {
        let address = NodeAddress::new("127.0.0.1", self.ports[&id]);
        let mut config =
            QuorumConfig::new(BrokerId(id), self.dir(id), address, self.voters.clone());
        config.cluster_id = Some("test-cluster".into());
        config.advertised.directory = self.directory(id);
        config.guard = self.guard.clone();
        config.snapshot_entries = self.snapshot_entries;
        config.timing.forget_after = self.forget_after;
        config.may_begin = self.may_begin;
        config
    }

    /// Starts a node; an id beyond the voters is an observer.
    pub fn start(&mut self, id: i32) {
        if !self.ports.contains_key(&id) {
            self.reserve(id);
        }
        let listener = self.listeners.remove(&id).unwrap_or_else(|| {
            let deadline = Instant::now() + PATIENCE;
            loop {
                match TcpListener::bind(("127.0.0.1", self.ports[&id])) {
                    Ok(listener) => return listener,
                    Err(e) => assert!(Instant::now() < deadline, "{e}"),
                }
                std::thread::yield_now();
            }
        });
        let controller = Arc::new(Controller::default());
        let node = Quorum::start(self.config(id), listener, controller.clone()).unwrap();
        self.nodes.insert(id, node);
        self.controllers.insert(id, controller);
    }

    /// Ends a node without resigning: the others see its sockets close, as after a kill.
    pub async fn kill(&mut self, id: i32) {
        self.nodes.remove(&id).unwrap().shutdown().await;
    }

    pub fn wipe(&self, id: i32) {
        std::fs::remove_dir_all(self.dir(id)).unwrap();
    }

    /// Waits until one of the running nodes is the active controller.
    pub async fn leader(&self) -> i32 {
        let wait = self.nodes.iter().map(|(id, node)| {
            let mut leadership = node.leadership();
            Box::pin(async move {
                match leadership.wait_for(|l| l.is_self).await {
                    Ok(_) => *id,
                    Err(_) => std::future::pending().await,
                }
            })
        });
        let (id, ..) = tokio::time::timeout(PATIENCE, futures::future::select_all(wait))
            .await
            .expect("a leader is elected");
        id
    }

    /// Whoever leads, and in which term.
    pub async fn reign(&self) -> (i32, u64) {
        loop {
            let leader = self.leader().await;
            if let Some(reign) = self.reigns().find(|(id, _)| *id == leader) {
                return reign;
            }
        }
    }

    /// Those who hold that they lead, and in which term.
    pub fn reigns(&self) -> impl Iterator<Item = (i32, u64)> {
        self.nodes.iter().filter_map(|(id, node)| {
            let now = *node.leadership().borrow();
            now.is_self.then_some((*id, now.term))
        })
    }

    pub async fn propose(&self, level: i16) -> u64 {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let node = &self.nodes[&self.leader().await];
            let term = node.leadership().borrow().term;
            match node.propose(term, vec![feature(level)]).await {
                Ok(offset) => return offset,
                Err(error) => assert!(Instant::now() < deadline, "{error}"),
            }
        }
    }

    /// Has whoever leads do something, until it succeeds: the leadership may move meanwhile.
    pub async fn led<E: std::fmt::Display>(
        &self,
        what: &str,
        work: impl AsyncFn(&Quorum) -> Result<(), E>,
    ) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match work(&self.nodes[&self.leader().await]).await {
                Ok(()) => return,
                Err(error) => assert!(Instant::now() < deadline, "never: {what}: {error}"),
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Waits until the node's image has the offset, and returns the level it shows.
    pub async fn level_at(&self, id: i32, offset: u64) -> i16 {
        let mut images = self.nodes[&id].images();
        let image = tokio::time::timeout(
            PATIENCE,
            images.wait_for(|image| image.offset() >= offset as i64),
        );
        let image = image.await.expect("the node catches up").unwrap();
        image.feature_level("level")
    }

    pub async fn until(&self, what: &str, mut done: impl FnMut(&Cluster) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !done(self) {
            assert!(Instant::now() < deadline, "never: {what}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    pub async fn stop(mut self) {
        for (_, node) in std::mem::take(&mut self.nodes) {
            node.shutdown().await;
        }
    }
}

fn rand_bits() -> u128 {
    u128::from_be_bytes(*Nonce::random().0.first_chunk().unwrap())
}

pub fn feature(level: i16) -> MetadataRecord {
    MetadataRecord::FeatureLevel(FeatureLevelRecord { name: "level".into(), level })
}

pub fn voter_ids(status: &QuorumStatus) -> Vec<i32> {
    status.voters.iter().map(|v| v.id.0).collect()
}

pub fn observer_ids(status: &QuorumStatus) -> Vec<i32> {
    status.observers.iter().map(|v| v.id.0).collect()
}
