//! Requests, replies and effects of the coordinator. They are Kafka's requests without their
//! versions: what a version cannot say arrives here as the default that Kafka gives it.

use std::convert::Infallible;
use std::sync::Arc;

use base::{ErrorCode, Offset, TopicId, TopicPartition};
use bytes::Bytes;

use crate::classic::state::GroupState;
use crate::{
    Booking, ConsumerHeartbeat, ConsumerHeartbeatReply, DescribedConsumerGroup, GroupId,
    GroupRecord, MemberId, Protocol, Transaction, TransactionEnd,
};

/// What the driver of a [`crate::GroupShard`] must do.
pub type Effect = crate::seam::Effect<GroupReply, GroupRecord, Infallible>;

/// Where a group stands in a partition; what consumer lag is computed from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CommittedPosition {
    pub group: GroupId,
    pub topic: Arc<str>,
    pub partition: i32,
    pub offset: Offset,
}

#[derive(Clone, PartialEq, Debug)]
pub enum GroupRequest {
    Join(JoinGroup),
    Sync(SyncGroup),
    Heartbeat(Heartbeat),
    Leave(LeaveGroup),
    Commit(CommitOffsets),
    CommitInTransaction(TransactionalCommit),
    /// Of a partition, not of a group: the coordinator of transactions knows no groups.
    EndTransaction(TransactionEnd),
    Fetch(FetchOffsets),
    DeleteOffsets(DeleteOffsets),
    Describe(GroupId),
    List(ListFilter),
    /// So many committed positions at most, the same ones each time.
    Positions(usize),
    DeleteGroup(GroupId),
    ConsumerHeartbeat(Box<ConsumerHeartbeat>),
    DescribeConsumer(GroupId),
}

#[derive(Clone, PartialEq, Debug)]
pub enum GroupReply {
    Join(JoinReply),
    Sync(SyncReply),
    Heartbeat(ErrorCode),
    Leave(LeaveReply),
    Commit(CommitReply),
    EndTransaction(ErrorCode),
    Fetch(FetchReply),
    DeleteOffsets(DeleteOffsetsReply),
    Describe(DescribedGroup),
    List(Vec<ListedGroup>),
    /// With the number of all.
    Positions(Vec<CommittedPosition>, usize),
    DeleteGroup(ErrorCode),
    ConsumerHeartbeat(ConsumerHeartbeatReply),
    DescribeConsumer(DescribedConsumerGroup),
}

#[derive(Clone, PartialEq, Debug)]
pub struct JoinGroup {
    pub group: GroupId,
    /// Empty for a member that has no id yet.
    pub member_id: MemberId,
    pub instance_id: Option<Arc<str>>,
    /// The id that a new member gets; unique, drawn by the caller.
    pub new_member_id: MemberId,
    pub client_id: Arc<str>,
    pub client_host: Arc<str>,
    pub session_timeout_ms: i32,
    pub rebalance_timeout_ms: i32,
    pub protocol_type: Arc<str>,
    pub protocols: Vec<Protocol>,
    /// A new dynamic member must come back with the id that it is given (KIP-394).
    pub requires_known_id: bool,
    /// The member understands "you lead, but do not assign" (KIP-814).
    pub supports_skip_assignment: bool,
    /// What the member's memory is booked with.
    pub booking: Booking,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct JoinedMember {
    pub member_id: MemberId,
    pub instance_id: Option<Arc<str>>,
    pub metadata: Bytes,
}

#[derive(Clone, PartialEq, Debug)]
pub struct JoinReply {
    pub error: ErrorCode,
    pub generation: i32,
    pub protocol_type: Option<Arc<str>>,
    pub protocol_name: Option<Arc<str>>,
    pub leader: MemberId,
    pub skip_assignment: bool,
    pub member_id: MemberId,
    pub members: Vec<JoinedMember>,
}

impl JoinReply {
    pub fn error(error: ErrorCode, member_id: MemberId) -> JoinReply {
        JoinReply {
            error,
            generation: -1,
            protocol_type: None,
            protocol_name: None,
            leader: "".into(),
            skip_assignment: false,
            member_id,
            members: Vec::new(),
        }
    }
}

#[derive(Clone, PartialEq, Debug)]
pub struct SyncGroup {
    pub group: GroupId,
    pub generation: i32,
    pub member_id: MemberId,
    pub instance_id: Option<Arc<str>>,
    pub protocol_type: Option<Arc<str>>,
    pub protocol_name: Option<Arc<str>>,
    /// Filled by the leader only.
    pub assignments: Vec<(MemberId, Bytes)>,
}

#[derive(Clone, PartialEq, Debug)]
pub struct SyncReply {
    pub error: ErrorCode,
    pub protocol_type: Option<Arc<str>>,
    pub protocol_name: Option<Arc<str>>,
    pub assignment: Bytes,
}

impl SyncReply {
    pub fn error(error: ErrorCode) -> SyncReply {
        SyncReply { error, protocol_type: None, protocol_name: None, assignment: Bytes::new() }
    }
}

#[derive(Clone, PartialEq, Debug)]
pub struct Heartbeat {
    pub group: GroupId,
    pub generation: i32,
    pub member_id: MemberId,
    pub instance_id: Option<Arc<str>>,
}

#[derive(Clone, PartialEq, Debug)]
pub struct LeaveGroup {
    pub group: GroupId,
    pub members: Vec<LeavingMember>,
}

#[derive(Clone, PartialEq, Debug)]
pub struct LeavingMember {
    /// Empty when an administrator removes a static member by its instance id.
    pub member_id: MemberId,
    pub instance_id: Option<Arc<str>>,
}

#[derive(Clone, PartialEq, Debug)]
pub struct LeaveReply {
    pub error: ErrorCode,
    pub members: Vec<LeftMember>,
}

#[derive(Clone, PartialEq, Debug)]
pub struct LeftMember {
    pub member_id: MemberId,
    pub instance_id: Option<Arc<str>>,
    pub error: ErrorCode,
}

#[derive(Clone, PartialEq, Debug)]
pub struct CommitOffsets {
    pub group: GroupId,
    pub member_id: MemberId,
    pub instance_id: Option<Arc<str>>,
    /// Generation or member epoch; -1 for consumers that do not use the group's membership.
    pub generation: i32,
    /// The client knows what a stale member epoch is.
    pub knows_epochs: bool,
    /// Retention asked for by old clients; `None` for the broker's.
    pub retention_ms: Option<i64>,
    /// What a member is told whose group does not exist: clients understand one code or another.
    pub unknown_group: ErrorCode,
    pub offsets: Vec<OffsetToCommit>,
}

/// A commit that counts once its transaction is committed (KIP-98, KIP-447).
#[derive(Clone, PartialEq, Debug)]
pub struct TransactionalCommit {
    pub transaction: Transaction,
    pub commit: CommitOffsets,
}

#[derive(Clone, PartialEq, Debug)]
pub struct OffsetToCommit {
    pub topic: Arc<str>,
    pub topic_id: TopicId,
    pub partition: i32,
    pub offset: Offset,
    pub leader_epoch: i32,
    pub metadata: Arc<str>,
}

/// One error per offset, in the request's order.
#[derive(Clone, PartialEq, Debug)]
pub struct CommitReply {
    pub errors: Vec<ErrorCode>,
}

#[derive(Clone, PartialEq, Debug)]
pub struct FetchOffsets {
    pub group: GroupId,
    /// `None` for everything the group has committed.
    pub topics: Option<Vec<FetchTopic>>,
    /// Who asks, if it is a member of a consumer group, and its epoch.
    pub member_id: Option<MemberId>,
    pub member_epoch: i32,
    /// Offsets of open transactions make the answer "unstable" instead of stale (KIP-447).
    pub require_stable: bool,
}

#[derive(Clone, PartialEq, Debug)]
pub struct FetchTopic {
    pub topic: Arc<str>,
    pub topic_id: TopicId,
    pub partitions: Vec<i32>,
}

#[derive(Clone, PartialEq, Debug)]
pub struct FetchReply {
    pub error: ErrorCode,
    pub topics: Vec<FetchedTopic>,
}

#[derive(Clone, PartialEq, Debug)]
pub struct FetchedTopic {
    pub topic: Arc<str>,
    pub topic_id: TopicId,
    pub partitions: Vec<FetchedOffset>,
}

#[derive(Clone, PartialEq, Debug)]
pub struct FetchedOffset {
    pub partition: i32,
    /// -1 where nothing is committed.
    pub offset: Offset,
    pub leader_epoch: i32,
    pub metadata: Arc<str>,
    pub error: ErrorCode,
}

#[derive(Clone, PartialEq, Debug)]
pub struct DeleteOffsets {
    pub group: GroupId,
    pub partitions: Vec<TopicPartition>,
}

/// One error per partition, in the request's order; none when `error` is set.
#[derive(Clone, PartialEq, Debug)]
pub struct DeleteOffsetsReply {
    pub error: ErrorCode,
    pub errors: Vec<ErrorCode>,
}

/// What to list; empty lists mean everything. Names compare without case, as Kafka does.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct ListFilter {
    pub states: Vec<Arc<str>>,
    pub types: Vec<Arc<str>>,
}

#[derive(Clone, PartialEq, Debug)]
pub struct ListedGroup {
    pub group: GroupId,
    pub protocol_type: Arc<str>,
    pub state: &'static str,
    /// The protocol of its members: `classic` or `consumer`.
    pub kind: &'static str,
}

#[derive(Clone, PartialEq, Debug)]
pub struct DescribedGroup {
    pub error: ErrorCode,
    pub message: Option<String>,
    pub group: GroupId,
    pub state: GroupState,
    pub protocol_type: Arc<str>,
    /// The chosen protocol; empty unless the group is stable.
    pub protocol: Arc<str>,
    pub members: Vec<DescribedMember>,
}

#[derive(Clone, PartialEq, Debug)]
pub struct DescribedMember {
    pub member_id: MemberId,
    pub instance_id: Option<Arc<str>>,
    pub client_id: Arc<str>,
    pub client_host: Arc<str>,
    pub metadata: Bytes,
    pub assignment: Bytes,
}

impl GroupRequest {
    /// The group that the request is about; `None` for a listing of all.
    pub fn group(&self) -> Option<&GroupId> {
        match self {
            GroupRequest::Join(r) => Some(&r.group),
            GroupRequest::Sync(r) => Some(&r.group),
            GroupRequest::Heartbeat(r) => Some(&r.group),
            GroupRequest::Leave(r) => Some(&r.group),
            GroupRequest::Commit(r) => Some(&r.group),
            GroupRequest::CommitInTransaction(r) => Some(&r.commit.group),
            GroupRequest::Fetch(r) => Some(&r.group),
            GroupRequest::DeleteOffsets(r) => Some(&r.group),
            GroupRequest::Describe(group)
            | GroupRequest::DeleteGroup(group)
            | GroupRequest::DescribeConsumer(group) => Some(group),
            GroupRequest::ConsumerHeartbeat(r) => Some(&r.group),
            GroupRequest::List(_)
            | GroupRequest::Positions(_)
            | GroupRequest::EndTransaction(_) => None,
        }
    }

    /// Whether only members send it: simple consumers of old may have no group id, members may
    /// not.
    pub fn is_of_members(&self) -> bool {
        matches!(
            self,
            GroupRequest::Join(_)
                | GroupRequest::Sync(_)
                | GroupRequest::Heartbeat(_)
                | GroupRequest::Leave(_)
                | GroupRequest::CommitInTransaction(_)
                | GroupRequest::ConsumerHeartbeat(_)
        )
    }

    /// The reply that refuses the whole request, as used where no shard can take it.
    pub fn refuse(&self, error: ErrorCode) -> GroupReply {
        match self {
            GroupRequest::Join(r) => GroupReply::Join(JoinReply::error(error, r.member_id.clone())),
            GroupRequest::Sync(_) => GroupReply::Sync(SyncReply::error(error)),
            GroupRequest::Heartbeat(_) => GroupReply::Heartbeat(error),
            GroupRequest::Leave(_) => GroupReply::Leave(LeaveReply { error, members: Vec::new() }),
            GroupRequest::Commit(r) => {
                GroupReply::Commit(CommitReply { errors: vec![error; r.offsets.len()] })
            }
            GroupRequest::CommitInTransaction(r) => {
                GroupReply::Commit(CommitReply { errors: vec![error; r.commit.offsets.len()] })
            }
            GroupRequest::EndTransaction(_) => GroupReply::EndTransaction(error),
            GroupRequest::Fetch(_) => GroupReply::Fetch(FetchReply { error, topics: Vec::new() }),
            GroupRequest::DeleteOffsets(_) => {
                GroupReply::DeleteOffsets(DeleteOffsetsReply { error, errors: Vec::new() })
            }
            GroupRequest::Describe(group) => {
                GroupReply::Describe(DescribedGroup::dead(group.clone(), error))
            }
            GroupRequest::List(_) => GroupReply::List(Vec::new()),
            GroupRequest::Positions(_) => GroupReply::Positions(Vec::new(), 0),
            GroupRequest::DeleteGroup(_) => GroupReply::DeleteGroup(error),
            GroupRequest::ConsumerHeartbeat(_) => {
                GroupReply::ConsumerHeartbeat(ConsumerHeartbeatReply::error(error, None))
            }
            GroupRequest::DescribeConsumer(group) => {
                let described = DescribedConsumerGroup::error(group.clone(), error, None);
                GroupReply::DescribeConsumer(described)
            }
        }
    }
}

impl DescribedGroup {
    pub(crate) fn dead(group: GroupId, error: ErrorCode) -> DescribedGroup {
        DescribedGroup {
            error,
            message: None,
            group,
            state: GroupState::Dead,
            protocol_type: "".into(),
            protocol: "".into(),
            members: Vec::new(),
        }
    }
}

impl GroupReply {
    /// The same reply as a failure: what is said when the records behind it were not committed.
    pub fn into_error(self, error: ErrorCode) -> GroupReply {
        match self {
            GroupReply::Join(r) => GroupReply::Join(JoinReply::error(error, r.member_id)),
            GroupReply::Sync(_) => GroupReply::Sync(SyncReply::error(error)),
            GroupReply::Heartbeat(_) => GroupReply::Heartbeat(error),
            GroupReply::Leave(_) => GroupReply::Leave(LeaveReply { error, members: Vec::new() }),
            GroupReply::Commit(mut r) => {
                // Offsets that were refused for a reason of their own keep it.
                for e in r.errors.iter_mut().filter(|e| !e.is_error()) {
                    *e = error;
                }
                GroupReply::Commit(r)
            }
            GroupReply::EndTransaction(_) => GroupReply::EndTransaction(error),
            GroupReply::Fetch(_) => GroupReply::Fetch(FetchReply { error, topics: Vec::new() }),
            GroupReply::DeleteOffsets(_) => {
                GroupReply::DeleteOffsets(DeleteOffsetsReply { error, errors: Vec::new() })
            }
            GroupReply::Describe(r) => GroupReply::Describe(DescribedGroup::dead(r.group, error)),
            GroupReply::List(_) => GroupReply::List(Vec::new()),
            GroupReply::Positions(..) => GroupReply::Positions(Vec::new(), 0),
            GroupReply::DeleteGroup(_) => GroupReply::DeleteGroup(error),
            GroupReply::ConsumerHeartbeat(_) => {
                GroupReply::ConsumerHeartbeat(ConsumerHeartbeatReply::error(error, None))
            }
            GroupReply::DescribeConsumer(r) => {
                GroupReply::DescribeConsumer(DescribedConsumerGroup::error(r.group, error, None))
            }
        }
    }
}
