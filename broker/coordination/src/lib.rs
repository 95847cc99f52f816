//! The coordinators of this broker. `shards` and `shard_task` drive any `coordinator::Shard`; this
//! file is the group coordinator, whose shards are the partitions of `__consumer_offsets`, and
//! `transactions` has that of transactions.

mod append;
mod cluster;
mod errands;
mod high_watermark;
mod load;
mod mailbox;
mod markers;
mod memory;
mod shard_task;
mod shards;
mod transactions;

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use base::ErrorCode;
/// The topic that groups are kept in.
pub use base::topic_name::OFFSETS as OFFSETS_TOPIC;
/// The topic that transactional ids are kept in.
pub use base::topic_name::TRANSACTIONS as TRANSACTIONS_TOPIC;
use config::Config;
use coordinator::{
    Booking, CommittedPosition, GroupReply, GroupRequest, GroupShard, ListFilter, ListedGroup,
    TransactionEnd,
};
use metadata::Image;
use process::shutdown::Shutdown;
use storage::partition::Outbox;

use errands::NoErrands;
use memory::MemberMemory;
use shards::Shards;

pub use markers::{LeaderMarkers, Outside, PartitionWritten};
pub use transactions::TransactionCoordinator;

/// Between attempts to create the topic, which fail while there are fewer brokers than replicas.
const CREATE_TOPIC_PAUSE_MS: i64 = 1000;

/// All groups whose coordinator this broker is. Cheap to clone.
#[derive(Clone)]
pub struct GroupCoordinator {
    inner: Arc<Inner>,
}

struct Inner {
    shards: Shards<GroupShard>,
    creation: Creation,
    /// Of the members of all shards.
    memory: MemberMemory,
}

impl GroupCoordinator {
    /// To be called within the runtime that the shards' tasks shall run on.
    pub fn new(config: &Config, outbox: Arc<Outbox>) -> GroupCoordinator {
        let inner = Inner {
            shards: Shards::new(group_config(config), outbox, Arc::new(NoErrands)),
            creation: Creation::default(),
            memory: MemberMemory::new(config.group.memory_bytes),
        };
        GroupCoordinator { inner: Arc::new(inner) }
    }

    /// Carries out what partitions post, until connections close.
    pub async fn run(self, shutdown: Shutdown) {
        tokio::select! {
            biased;
            () = self.inner.shards.carry_out() => {}
            () = shutdown.connections_closing() => {}
        }
    }

    /// Ends all shards and waits for their tasks: none appends anything afterwards. No shard begins
    /// any more.
    pub async fn close(&self) {
        self.inner.shards.close().await;
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
        self.inner.shards.call(partition_of(image, &group), request).await
    }

    /// Ends a producer's transaction in a partition of the topic: what it committed there counts or
    /// not, once that is committed.
    pub async fn end_transaction(&self, partition: i32, end: TransactionEnd) -> ErrorCode {
        let mailbox = match self.inner.shards.of(partition) {
            Ok(mailbox) => mailbox,
            Err(error) => return error,
        };
        match mailbox.ask(GroupRequest::EndTransaction(end)).await {
            Some(GroupReply::EndTransaction(error)) => error,
            _ => ErrorCode::NotCoordinator,
        }
    }

    /// The groups of all shards here.
    pub async fn list(&self, filter: ListFilter) -> Result<Vec<ListedGroup>, ErrorCode> {
        let mut groups = Vec::new();
        for (is_loaded, mailbox) in self.inner.shards.all() {
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
        let loaded = self.inner.shards.all().into_iter().filter(|(is_loaded, _)| *is_loaded);
        for (_, mailbox) in loaded {
            let request = GroupRequest::Positions(max - all.len());
            let Some(GroupReply::Positions(positions, count)) = mailbox.ask(request).await else {
                continue;
            };
            omitted += count.saturating_sub(positions.len());
            all.extend(positions);
        }
        (all, omitted)
    }

    /// Whether the caller shall create `__consumer_offsets` now: one of many who miss it, and not
    /// again before a while.
    pub fn may_create_topic(&self, now_ms: i64) -> bool {
        self.inner.creation.may_begin(now_ms)
    }
}

/// Attempts to create a coordinator's topic: one at a time.
#[derive(Default)]
struct Creation {
    not_before_ms: AtomicI64,
}

impl Creation {
    fn may_begin(&self, now_ms: i64) -> bool {
        let not_before_ms = self.not_before_ms.load(Ordering::Relaxed);
        let next_ms = now_ms + CREATE_TOPIC_PAUSE_MS;
        let order = Ordering::Relaxed;
        now_ms >= not_before_ms
            && self.not_before_ms.compare_exchange(not_before_ms, next_ms, order, order).is_ok()
    }
}

/// The partition of a coordinator's topic that an id belongs to; none before the topic exists.
fn partition_in(image: &Image, topic: &str, id: &str) -> Option<i32> {
    let count = i32::try_from(image.topic(topic)?.partitions.len()).ok()?;
    (count > 0).then(|| coordinator::partition_for(id, count))
}

/// The partition of `__consumer_offsets` that a group belongs to; none before the topic exists.
pub fn partition_of(image: &Image, group: &str) -> Option<i32> {
    partition_in(image, OFFSETS_TOPIC, group)
}

/// The partition of `__transaction_state` that a transactional id belongs to.
pub fn transaction_partition_of(image: &Image, id: &str) -> Option<i32> {
    partition_in(image, TRANSACTIONS_TOPIC, id)
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
        consumer: consumer_config(&config.group.consumer),
    }
}

fn consumer_config(config: &config::ConsumerGroupConfig) -> coordinator::ConsumerConfig {
    let assignor = |asked: &config::Assignor| match asked {
        config::Assignor::Uniform => coordinator::Assignor::Uniform,
        config::Assignor::Range => coordinator::Assignor::Range,
    };
    coordinator::ConsumerConfig {
        session_timeout_ms: config.session_timeout_ms,
        session_timeout_ms_min: config.session_timeout_ms_min,
        session_timeout_ms_max: config.session_timeout_ms_max,
        heartbeat_interval_ms: config.heartbeat_interval_ms,
        heartbeat_interval_ms_min: config.heartbeat_interval_ms_min,
        heartbeat_interval_ms_max: config.heartbeat_interval_ms_max,
        assignment_interval_ms: config.assignment_interval_ms,
        members_max: config.size_max,
        assignors: config.assignors.iter().map(assignor).collect(),
    }
}
