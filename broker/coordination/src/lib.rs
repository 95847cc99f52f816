//! The group coordinator's driver: one task per partition of `__consumer_offsets` that this broker
//! leads. A task owns its `coordinator::GroupShard`, appends the records it asks for, and gives
//! replies out when the shard lets them go. Requests reach it through a bounded mailbox.
//!
//! A shard's life follows the leadership of its partition, which the partition posts: taken, it is
//! loaded from the log (its clients are told to wait); lost, it is dropped (its clients are sent
//! on).

mod append;
mod high_watermark;
mod load;
mod mailbox;
mod memory;
mod shard_task;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::Duration;

/// The topic that groups are kept in.
pub use base::topic_name::OFFSETS as OFFSETS_TOPIC;
use base::{ErrorCode, LeaderEpoch, TopicId, TopicPartition};
use config::Config;
use coordinator::{Booking, CommittedPosition, GroupReply, GroupRequest, ListFilter, ListedGroup};
use metadata::Image;
use parking_lot::{Mutex, RwLock};
use process::shutdown::Shutdown;
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio::task::JoinSet;

use storage::partition::{CoordinatorPost, Outbox, Partition};

use mailbox::{Mailbox, Topics};
use memory::MemberMemory;
use shard_task::ShardTask;

/// How long shards may take to end. They answer everybody and wait for nothing.
const CLOSE_MAX: Duration = Duration::from_secs(5);

/// Between attempts to create the topic, which fail while there are fewer brokers than replicas.
const CREATE_TOPIC_PAUSE_MS: i64 = 1000;

/// All shards of this broker. Cheap to clone.
#[derive(Clone)]
pub struct GroupCoordinator {
    inner: Arc<Inner>,
}

struct Inner {
    runtime: Handle,
    /// Where partitions post.
    outbox: Arc<Outbox>,
    config: coordinator::GroupConfig,
    shards: RwLock<BTreeMap<i32, Shard>>,
    /// None once the coordinator is closed.
    tasks: Mutex<Option<JoinSet<()>>>,
    create_not_before_ms: AtomicI64,
    /// Of the members of all shards.
    memory: MemberMemory,
}

/// How to reach a shard's task. Dropping it ends the task.
struct Shard {
    epoch: LeaderEpoch,
    mailbox: Mailbox,
    is_loaded: Arc<AtomicBool>,
    _alive: oneshot::Sender<()>,
}

impl GroupCoordinator {
    /// To be called within the runtime that the shards' tasks shall run on.
    pub fn new(config: &Config, outbox: Arc<Outbox>) -> GroupCoordinator {
        let inner = Inner {
            runtime: Handle::current(),
            outbox,
            config: group_config(config),
            shards: RwLock::default(),
            tasks: Mutex::new(Some(JoinSet::new())),
            create_not_before_ms: AtomicI64::new(0),
            memory: MemberMemory::new(config.group.memory_bytes),
        };
        GroupCoordinator { inner: Arc::new(inner) }
    }

    /// Carries out what is posted, until connections close.
    pub async fn run(self, shutdown: Shutdown) {
        let carrying_out = async {
            loop {
                self.carry_out_posts();
                self.inner.outbox.coordinators.posted().await;
            }
        };
        tokio::select! {
            () = carrying_out => {}
            () = shutdown.connections_closing() => {}
        }
    }

    /// Also before anything is asked of a shard: who was told of a new leader finds it leading, and
    /// no commit for a new topic is among those for a deleted one of its name.
    fn carry_out_posts(&self) {
        self.inner.outbox.coordinators.carry_out(|post| match post {
            CoordinatorPost::Leads { partition, epoch } if is_ours(&partition.id) => {
                self.leadership_taken(&partition, epoch);
            }
            CoordinatorPost::LeadsNoMore(id) if is_ours(&id) => self.leadership_lost(id.partition),
            // Of the topics of other coordinators.
            CoordinatorPost::Leads { .. } | CoordinatorPost::LeadsNoMore(_) => {}
            CoordinatorPost::TopicsDeleted(topics) => self.topics_deleted(topics),
        });
    }

    /// This broker leads a partition of `__consumer_offsets` from this epoch on. Does not block;
    /// the task starts with a look at the partition.
    fn leadership_taken(&self, partition: &Arc<Partition>, epoch: LeaderEpoch) {
        let index = partition.id.partition;
        let mut shards = self.inner.shards.write();
        if shards.get(&index).is_some_and(|shard| shard.epoch >= epoch) {
            return;
        }
        let mut tasks = self.inner.tasks.lock();
        let Some(tasks) = tasks.as_mut() else { return };
        while tasks.try_join_next().is_some() {}
        let (mailbox, commands, deletions) = Mailbox::new();
        let (alive, stopped) = oneshot::channel();
        let is_loaded = Arc::new(AtomicBool::new(false));
        let task = ShardTask {
            partition: partition.clone(),
            epoch,
            config: self.inner.config.clone(),
            is_loaded: is_loaded.clone(),
            deletions,
        };
        tasks.spawn_on(task.run(commands, stopped), &self.inner.runtime);
        shards.insert(index, Shard { epoch, mailbox, is_loaded, _alive: alive });
    }

    /// This broker no longer leads it. Does not block.
    fn leadership_lost(&self, partition: i32) {
        self.inner.shards.write().remove(&partition);
    }

    /// Ends all shards and waits for their tasks: none appends anything afterwards. No shard begins
    /// any more.
    pub async fn close(&self) {
        let tasks = self.inner.tasks.lock().take();
        self.inner.shards.write().clear();
        let Some(mut tasks) = tasks else { return };
        let ended = async { while tasks.join_next().await.is_some() {} };
        if tokio::time::timeout(CLOSE_MAX, ended).await.is_err() {
            tracing::warn!("groups are still busy: their tasks are aborted");
            tasks.shutdown().await;
        }
    }

    /// Books the memory of a member; `None` if there is no more for members.
    pub fn book(&self, bytes: usize) -> Option<Booking> {
        self.inner.memory.book(bytes)
    }

    /// Asks the shard of the request's group, if it is here and loaded.
    pub async fn call(&self, image: &Image, request: GroupRequest) -> GroupReply {
        let group = request.group().cloned().unwrap_or_else(|| "".into());
        if group.is_empty() && request.is_of_members() {
            // No coordinator is looked for: which one would it be?
            return request.refuse(ErrorCode::InvalidGroupId);
        }
        let mailbox = match self.shard_of(image, &group) {
            Ok(mailbox) => mailbox,
            Err(error) => return request.refuse(error),
        };
        // What is said if the shard goes away with the request.
        let gone = request.refuse(ErrorCode::NotCoordinator);
        mailbox.ask(request).await.unwrap_or(gone)
    }

    fn shard_of(&self, image: &Image, group: &str) -> Result<Mailbox, ErrorCode> {
        self.carry_out_posts();
        let index = partition_of(image, group).ok_or(ErrorCode::NotCoordinator)?;
        let shards = self.inner.shards.read();
        let shard = shards.get(&index).ok_or(ErrorCode::NotCoordinator)?;
        match shard.is_loaded.load(Ordering::Acquire) {
            true => Ok(shard.mailbox.clone()),
            false => Err(ErrorCode::CoordinatorLoadInProgress),
        }
    }

    /// The groups of all shards here.
    pub async fn list(&self, filter: ListFilter) -> Result<Vec<ListedGroup>, ErrorCode> {
        let mut groups = Vec::new();
        for (is_loaded, mailbox) in self.mailboxes() {
            if !is_loaded {
                return Err(ErrorCode::CoordinatorLoadInProgress);
            }
            let request = GroupRequest::List(filter.clone());
            // A shard that goes away meanwhile is another broker's to list.
            if let Some(GroupReply::List(listed)) = mailbox.ask(request).await {
                groups.extend(listed);
            }
        }
        Ok(groups)
    }

    /// What groups of the loaded shards have committed, for the lag metrics: so many positions,
    /// the same ones each time, and the number of the others.
    pub async fn positions(&self, max: usize) -> (Vec<CommittedPosition>, usize) {
        let (mut all, mut omitted) = (Vec::new(), 0);
        for (_, mailbox) in self.mailboxes().into_iter().filter(|(is_loaded, _)| *is_loaded) {
            let Some((positions, count)) = mailbox.positions(max - all.len()).await else {
                continue;
            };
            omitted += count.saturating_sub(positions.len());
            all.extend(positions);
        }
        (all, omitted)
    }

    /// These topics were deleted: what groups committed of them is forgotten. Does not block.
    fn topics_deleted(&self, topics: Vec<(Arc<str>, TopicId)>) {
        let topics: Topics = Arc::new(topics.into_iter().collect());
        for (_, mailbox) in self.shards() {
            mailbox.topics_deleted(topics.clone());
        }
    }

    /// Whether the caller shall create `__consumer_offsets` now: one of many who miss it, and not
    /// again before a while.
    pub fn may_create_topic(&self, now_ms: i64) -> bool {
        let not_before_ms = self.inner.create_not_before_ms.load(Ordering::Relaxed);
        let next_ms = now_ms + CREATE_TOPIC_PAUSE_MS;
        now_ms >= not_before_ms
            && self
                .inner
                .create_not_before_ms
                .compare_exchange(not_before_ms, next_ms, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok()
    }

    fn mailboxes(&self) -> Vec<(bool, Mailbox)> {
        self.carry_out_posts();
        self.shards()
    }

    fn shards(&self) -> Vec<(bool, Mailbox)> {
        let shards = self.inner.shards.read();
        let reach = |s: &Shard| (s.is_loaded.load(Ordering::Acquire), s.mailbox.clone());
        shards.values().map(reach).collect()
    }
}

fn is_ours(id: &TopicPartition) -> bool {
    &*id.topic == OFFSETS_TOPIC
}

/// The partition of `__consumer_offsets` that a group belongs to; none before the topic exists.
pub fn partition_of(image: &Image, group: &str) -> Option<i32> {
    let topic = image.topic(OFFSETS_TOPIC)?;
    let count = i32::try_from(topic.partitions.len()).ok()?;
    (count > 0).then(|| coordinator::partition_for(group, count))
}

fn group_config(config: &Config) -> coordinator::GroupConfig {
    let kafka = coordinator::GroupConfig::kafka_defaults();
    let delay = config.group.initial_rebalance_delay_ms;
    coordinator::GroupConfig {
        session_timeout_ms_min: config.group.session_timeout_ms_min,
        session_timeout_ms_max: config.group.session_timeout_ms_max,
        initial_rebalance_delay_ms: i32::try_from(delay).unwrap_or(i32::MAX),
        members_max: config.group.size_max,
        offset_metadata_bytes_max: config.offsets.metadata_bytes_max,
        offsets_retention_ms: config.offsets.retention_ms,
        offsets_retention_check_ms: config.offsets.retention_check_interval_ms as i64,
        commit_timeout_ms: config.offsets.commit_timeout_ms as i64,
        new_member_join_timeout_ms: kafka.new_member_join_timeout_ms,
    }
}
