//! The shards of one coordinator on this broker: one task per partition of its internal topic that
//! this broker leads. Requests reach a task through a bounded mailbox.
//!
//! A shard's life follows the leadership of its partition, which the partition posts: taken, it is
//! loaded from the log (its clients are told to wait); lost, it is dropped (its clients are sent
//! on).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use base::{ErrorCode, LeaderEpoch, TopicId};
use coordinator::{Cluster, Shard};
use parking_lot::{Mutex, RwLock};
use process::task::{Runtime, Tasks};
use process::time::timeout;
use storage::partition::{CoordinatorPost, Outbox, Partition};
use tokio::sync::{oneshot, watch};

use crate::cluster::ImageView;
use crate::errands::Errands;
use crate::mailbox::{Mailbox, Topics};
use crate::shard_task::ShardTask;

/// How long shards may take to end. They answer everybody and wait for nothing.
const CLOSE_MAX: Duration = Duration::from_secs(5);

pub(crate) struct Shards<S: Shard> {
    runtime: Runtime,
    /// Where partitions post.
    outbox: Arc<Outbox>,
    config: S::Config,
    errands: Arc<dyn Errands<S>>,
    shards: RwLock<BTreeMap<i32, Reach<S>>>,
    /// The newest view of the cluster; none before the first image.
    cluster: watch::Sender<Option<Arc<dyn Cluster>>>,
    /// None once the coordinator is closed.
    tasks: Mutex<Option<Tasks<()>>>,
}

/// How to reach a shard's task. Dropping it ends the task.
struct Reach<S: Shard> {
    epoch: LeaderEpoch,
    mailbox: Mailbox<S>,
    is_loaded: Arc<AtomicBool>,
    _alive: oneshot::Sender<()>,
}

impl<S: Shard> Shards<S> {
    /// To be called within the runtime that the shards' tasks shall run on.
    pub(crate) fn new(
        config: S::Config,
        outbox: Arc<Outbox>,
        errands: Arc<dyn Errands<S>>,
    ) -> Shards<S> {
        Shards {
            runtime: Runtime::current(),
            outbox,
            config,
            errands,
            shards: RwLock::default(),
            cluster: watch::Sender::new(None),
            tasks: Mutex::new(Some(Tasks::new())),
        }
    }

    /// Carries out what is posted, for ever.
    pub(crate) async fn carry_out(&self) {
        loop {
            self.carry_out_posts();
            self.outbox.coordinators.posted(S::TOPIC).await;
        }
    }

    /// Also before anything is asked of a shard: who was told of a new leader finds it leading, and
    /// nothing that is asked for a new topic is among what an old one of its name loses.
    fn carry_out_posts(&self) {
        self.outbox.coordinators.carry_out(S::TOPIC, |post| match post {
            CoordinatorPost::Leads { partition, epoch } => self.leadership_taken(&partition, epoch),
            CoordinatorPost::LeadsNoMore(id) => {
                self.shards.write().remove(&id.partition);
            }
            CoordinatorPost::TopicsDeleted(topics) => self.topics_deleted(topics),
            CoordinatorPost::ClusterChanged(image) => {
                self.cluster.send_replace(Some(Arc::new(ImageView(image))));
            }
        });
    }

    /// Does not block; the task starts with a look at the partition.
    fn leadership_taken(&self, partition: &Arc<Partition>, epoch: LeaderEpoch) {
        let index = partition.id.partition;
        let mut shards = self.shards.write();
        if shards.get(&index).is_some_and(|shard| shard.epoch >= epoch) {
            return;
        }
        let mut tasks = self.tasks.lock();
        let Some(tasks) = tasks.as_mut() else { return };
        while tasks.try_join_next().is_some() {}
        let (mailbox, commands, deletions) = Mailbox::new();
        let (alive, stopped) = oneshot::channel();
        let is_loaded = Arc::new(AtomicBool::new(false));
        let task = ShardTask::<S> {
            partition: partition.clone(),
            epoch,
            config: self.config.clone(),
            is_loaded: is_loaded.clone(),
            deletions,
            mailbox: mailbox.clone(),
            errands: self.errands.clone(),
            cluster: self.cluster.subscribe(),
        };
        tasks.spawn_on(task.run(commands, stopped), &self.runtime);
        shards.insert(index, Reach { epoch, mailbox, is_loaded, _alive: alive });
    }

    fn topics_deleted(&self, topics: Vec<(Arc<str>, TopicId)>) {
        let topics: Topics = Arc::new(topics.into_iter().collect());
        for reach in self.shards.read().values() {
            reach.mailbox.topics_deleted(topics.clone());
        }
    }

    /// Ends all shards and waits for their tasks: none appends anything afterwards. No shard begins
    /// any more.
    pub(crate) async fn close(&self) {
        let tasks = self.tasks.lock().take();
        self.shards.write().clear();
        let Some(mut tasks) = tasks else { return };
        let ended = async { while tasks.join_next().await.is_some() {} };
        if timeout(CLOSE_MAX, ended).await.is_err() {
            tracing::warn!("shards of {} are still busy: their tasks are aborted", S::TOPIC);
            tasks.shutdown().await;
        }
    }

    /// The shard of a partition, if it is here and loaded.
    pub(crate) fn of(&self, partition: i32) -> Result<Mailbox<S>, ErrorCode> {
        self.carry_out_posts();
        let shards = self.shards.read();
        let shard = shards.get(&partition).ok_or(ErrorCode::NotCoordinator)?;
        match shard.is_loaded.load(Ordering::Acquire) {
            true => Ok(shard.mailbox.clone()),
            false => Err(ErrorCode::CoordinatorLoadInProgress),
        }
    }

    /// Asks the shard of a partition. `None`: the topic does not exist yet.
    pub(crate) async fn call(&self, partition: Option<i32>, request: S::Request) -> S::Reply {
        let partition = partition.ok_or(ErrorCode::NotCoordinator);
        let mailbox = match partition.and_then(|partition| self.of(partition)) {
            Ok(mailbox) => mailbox,
            Err(error) => return S::refuse(&request, error),
        };
        // What is said if the shard goes away with the request.
        let gone = S::refuse(&request, ErrorCode::NotCoordinator);
        mailbox.ask(request).await.unwrap_or(gone)
    }

    /// All shards here, and whether each is loaded.
    pub(crate) fn all(&self) -> Vec<(bool, Mailbox<S>)> {
        self.carry_out_posts();
        let shards = self.shards.read();
        let reach = |r: &Reach<S>| (r.is_loaded.load(Ordering::Acquire), r.mailbox.clone());
        shards.values().map(reach).collect()
    }
}
