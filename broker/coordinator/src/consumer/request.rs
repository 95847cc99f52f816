//! Requests and replies of the consumer group protocol, without their versions.

use std::fmt;
use std::sync::Arc;

use base::{ErrorCode, TopicId};

use crate::consumer::value::ConsumerGroupState;
use crate::{Booking, GroupId, MemberId};

/// Partitions of topics as a request or a reply lists them.
pub type TopicPartitionList = Vec<(TopicId, Vec<i32>)>;

/// The topics that somebody may know of; by default all. The caller knows the rules.
#[derive(Clone, Default)]
pub struct Sight(Option<Arc<Sees>>);

type Sees = dyn Fn(&str) -> bool + Send + Sync;

impl Sight {
    pub fn of(sees: impl Fn(&str) -> bool + Send + Sync + 'static) -> Sight {
        Sight(Some(Arc::new(sees)))
    }

    pub(crate) fn sees(&self, topic: &str) -> bool {
        self.0.as_ref().is_none_or(|sees| sees(topic))
    }
}

impl fmt::Debug for Sight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "Sight(some)" } else { "Sight(all)" })
    }
}

/// The same rules, not rules that say the same.
impl PartialEq for Sight {
    fn eq(&self, other: &Sight) -> bool {
        match (&self.0, &other.0) {
            (None, None) => true,
            (Some(a), Some(b)) => Arc::ptr_eq(a, b),
            _ => false,
        }
    }
}

/// A heartbeat: what is `None` has not changed since the last one.
#[derive(Clone, PartialEq, Debug)]
pub struct ConsumerHeartbeat {
    pub group: GroupId,
    pub member_id: MemberId,
    /// The member brings its own id; before that the coordinator gave it one.
    pub brings_id: bool,
    /// The id for a member that has none; unique, drawn by the caller.
    pub new_member_id: MemberId,
    /// 0 to join, -1 to leave, -2 to leave for a while.
    pub member_epoch: i32,
    pub instance_id: Option<Arc<str>>,
    pub rack_id: Option<Arc<str>>,
    pub rebalance_timeout_ms: Option<i32>,
    pub topics: Option<Vec<Arc<str>>>,
    pub regex: Option<Arc<str>>,
    pub assignor: Option<Arc<str>>,
    /// What the member owns.
    pub owned: Option<TopicPartitionList>,
    pub client_id: Arc<str>,
    pub client_host: Arc<str>,
    /// What an expression may stand for.
    pub sight: Sight,
    /// What the member's memory is booked with.
    pub booking: Booking,
}

#[derive(Clone, PartialEq, Debug)]
pub struct ConsumerHeartbeatReply {
    pub error: ErrorCode,
    pub message: Option<String>,
    pub member_id: Option<MemberId>,
    pub member_epoch: i32,
    pub interval_ms: i32,
    /// What the member may own, if that is news to it.
    pub assignment: Option<TopicPartitionList>,
}

impl ConsumerHeartbeatReply {
    pub fn error(error: ErrorCode, message: Option<String>) -> ConsumerHeartbeatReply {
        ConsumerHeartbeatReply {
            error,
            message,
            member_id: None,
            member_epoch: 0,
            interval_ms: 0,
            assignment: None,
        }
    }
}

/// Why a request is refused, with the sentence that the client is shown.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Refusal {
    pub(crate) error: ErrorCode,
    pub(crate) message: String,
}

impl Refusal {
    pub(crate) fn new(error: ErrorCode, message: impl Into<String>) -> Refusal {
        Refusal { error, message: message.into() }
    }
}

#[derive(Clone, PartialEq, Debug)]
pub struct DescribedConsumerGroup {
    pub error: ErrorCode,
    pub message: Option<String>,
    pub group: GroupId,
    pub state: ConsumerGroupState,
    pub epoch: i32,
    pub target_epoch: i32,
    pub assignor: Arc<str>,
    pub members: Vec<DescribedConsumer>,
}

impl DescribedConsumerGroup {
    pub fn error(
        group: GroupId,
        error: ErrorCode,
        message: Option<String>,
    ) -> DescribedConsumerGroup {
        DescribedConsumerGroup {
            error,
            message,
            group,
            state: ConsumerGroupState::Dead,
            epoch: 0,
            target_epoch: 0,
            assignor: "".into(),
            members: Vec::new(),
        }
    }
}

#[derive(Clone, PartialEq, Debug)]
pub struct DescribedConsumer {
    pub member_id: MemberId,
    pub instance_id: Option<Arc<str>>,
    pub rack_id: Option<Arc<str>>,
    pub member_epoch: i32,
    pub client_id: Arc<str>,
    pub client_host: Arc<str>,
    pub topics: Vec<Arc<str>>,
    pub regex: Option<Arc<str>>,
    pub is_classic: bool,
    pub assignment: Vec<DescribedPartitions>,
    pub target: Vec<DescribedPartitions>,
}

#[derive(Clone, PartialEq, Debug)]
pub struct DescribedPartitions {
    pub topic: Arc<str>,
    pub topic_id: TopicId,
    pub partitions: Vec<i32>,
}
