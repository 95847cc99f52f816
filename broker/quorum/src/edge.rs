//! The one edge where openraft's types become this project's own, and back. What is stored or sent
//! is of `formats.rs` and `messages.rs`; what is handed to openraft is of openraft.

use std::io;

use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, TransferLeaderError, TransferLeaderRequest,
    TransferLeaderResponse, VoteRequest, VoteResponse,
};
use openraft::{EntryPayload, Membership};

use crate::config::NodeAddress;
use crate::formats::{
    Ballot, Body, Candidate, LogEntry, Members, MembersAt, Position, SnapshotHead,
};
use crate::messages::{
    AppendCall, AppendReply, TransferCall, TransferRefusal, VoteQuestion, VoteReply,
};
use crate::types::{
    Entry, LogId, NodeId, Records, SnapshotMeta, StoredMembership, TypeConfig, Vote,
};

impl From<LogId> for Position {
    fn from(id: LogId) -> Position {
        Position { term: id.leader_id.term, index: id.index }
    }
}

impl From<Position> for LogId {
    fn from(at: Position) -> LogId {
        LogId::new(at.term.into(), at.index)
    }
}

pub fn position(id: Option<LogId>) -> Option<Position> {
    id.map(Position::from)
}

pub fn log_id(at: Option<Position>) -> Option<LogId> {
    at.map(LogId::from)
}

impl From<Vote> for Ballot {
    fn from(vote: Vote) -> Ballot {
        let candidate = Candidate { term: vote.leader_id.term, node: vote.leader_id.voted_for };
        Ballot { candidate, committed: vote.committed }
    }
}

impl From<Ballot> for Vote {
    fn from(ballot: Ballot) -> Vote {
        let Candidate { term, node } = ballot.candidate;
        if ballot.committed { Vote::new_committed(term, node) } else { Vote::new(term, node) }
    }
}

impl From<&Membership<NodeId, NodeAddress>> for Members {
    fn from(members: &Membership<NodeId, NodeAddress>) -> Members {
        let nodes = members.nodes().map(|(id, address)| (*id, address.clone()));
        Members { voters: members.get_joint_config().clone(), nodes: nodes.collect() }
    }
}

impl TryFrom<Members> for Membership<NodeId, NodeAddress> {
    type Error = io::Error;

    fn try_from(members: Members) -> io::Result<Membership<NodeId, NodeAddress>> {
        if members.voters.is_empty() && members.nodes.is_empty() {
            // Of a node that knows no members yet.
            return Ok(Membership::default());
        }
        Membership::new(members.voters, members.nodes)
            .map_err(|e| io::Error::new(io::ErrorKind::InvalidData, e.to_string()))
    }
}

impl From<&StoredMembership> for MembersAt {
    fn from(stored: &StoredMembership) -> MembersAt {
        MembersAt { at: position(*stored.log_id()), members: stored.membership().into() }
    }
}

impl TryFrom<MembersAt> for StoredMembership {
    type Error = io::Error;

    fn try_from(stored: MembersAt) -> io::Result<StoredMembership> {
        Ok(StoredMembership::new(log_id(stored.at), stored.members.try_into()?))
    }
}

impl From<&Entry> for LogEntry {
    fn from(entry: &Entry) -> LogEntry {
        let body = match &entry.payload {
            EntryPayload::Blank => Body::Blank,
            EntryPayload::Normal(Records(bytes)) => Body::Records(Records(bytes.clone())),
            EntryPayload::Membership(members) => Body::Members(members.into()),
        };
        LogEntry { at: entry.log_id.into(), body }
    }
}

/// A function, because openraft names its entry by a projection, for which no trait can be
/// implemented here.
pub fn raft_entry(entry: LogEntry) -> io::Result<Entry> {
    let payload = match entry.body {
        Body::Blank => EntryPayload::Blank,
        Body::Records(records) => EntryPayload::Normal(records),
        Body::Members(members) => EntryPayload::Membership(members.try_into()?),
    };
    Ok(Entry { log_id: entry.at.into(), payload })
}

impl From<&SnapshotMeta> for SnapshotHead {
    fn from(meta: &SnapshotMeta) -> SnapshotHead {
        let members = (&meta.last_membership).into();
        SnapshotHead { last: position(meta.last_log_id), members }
    }
}

impl TryFrom<SnapshotHead> for SnapshotMeta {
    type Error = io::Error;

    fn try_from(head: SnapshotHead) -> io::Result<SnapshotMeta> {
        let last_membership = head.members.try_into()?;
        Ok(SnapshotMeta { last_log_id: log_id(head.last), last_membership })
    }
}

impl From<AppendEntriesRequest<TypeConfig>> for AppendCall {
    fn from(request: AppendEntriesRequest<TypeConfig>) -> AppendCall {
        AppendCall {
            ballot: request.vote.into(),
            previous: position(request.prev_log_id),
            entries: request.entries.iter().map(LogEntry::from).collect(),
            committed: position(request.leader_commit),
        }
    }
}

impl TryFrom<AppendCall> for AppendEntriesRequest<TypeConfig> {
    type Error = io::Error;

    fn try_from(call: AppendCall) -> io::Result<AppendEntriesRequest<TypeConfig>> {
        Ok(AppendEntriesRequest {
            vote: call.ballot.into(),
            prev_log_id: log_id(call.previous),
            entries: call.entries.into_iter().map(raft_entry).collect::<Result<_, _>>()?,
            leader_commit: log_id(call.committed),
        })
    }
}

impl From<AppendEntriesResponse<TypeConfig>> for AppendReply {
    fn from(response: AppendEntriesResponse<TypeConfig>) -> AppendReply {
        match response {
            AppendEntriesResponse::Success => AppendReply::Success,
            AppendEntriesResponse::PartialSuccess(id) => AppendReply::Partial(position(id)),
            AppendEntriesResponse::Conflict => AppendReply::Conflict,
            AppendEntriesResponse::HigherVote(vote) => AppendReply::HigherBallot(vote.into()),
        }
    }
}

impl From<AppendReply> for AppendEntriesResponse<TypeConfig> {
    fn from(reply: AppendReply) -> AppendEntriesResponse<TypeConfig> {
        match reply {
            AppendReply::Success => AppendEntriesResponse::Success,
            AppendReply::Partial(at) => AppendEntriesResponse::PartialSuccess(log_id(at)),
            AppendReply::Conflict => AppendEntriesResponse::Conflict,
            AppendReply::HigherBallot(ballot) => AppendEntriesResponse::HigherVote(ballot.into()),
        }
    }
}

impl From<VoteRequest<TypeConfig>> for VoteQuestion {
    fn from(request: VoteRequest<TypeConfig>) -> VoteQuestion {
        VoteQuestion {
            ballot: request.vote.into(),
            last: position(request.last_log_id),
            handed_over: request.leadership_transfer,
        }
    }
}

impl From<VoteQuestion> for VoteRequest<TypeConfig> {
    fn from(question: VoteQuestion) -> VoteRequest<TypeConfig> {
        let mut request = VoteRequest::new(question.ballot.into(), log_id(question.last));
        request.leadership_transfer = question.handed_over;
        request
    }
}

impl From<VoteResponse<TypeConfig>> for VoteReply {
    fn from(response: VoteResponse<TypeConfig>) -> VoteReply {
        VoteReply {
            ballot: response.vote.into(),
            granted: response.vote_granted,
            last: position(response.last_log_id),
        }
    }
}

impl From<VoteReply> for VoteResponse<TypeConfig> {
    fn from(reply: VoteReply) -> VoteResponse<TypeConfig> {
        VoteResponse::new(Vote::from(reply.ballot), log_id(reply.last), reply.granted)
    }
}

impl From<TransferLeaderRequest<TypeConfig>> for TransferCall {
    fn from(request: TransferLeaderRequest<TypeConfig>) -> TransferCall {
        TransferCall {
            from: (*request.from_leader()).into(),
            to: *request.to_node_id(),
            last: position(request.last_log_id().copied()),
        }
    }
}

impl From<TransferCall> for TransferLeaderRequest<TypeConfig> {
    fn from(call: TransferCall) -> TransferLeaderRequest<TypeConfig> {
        TransferLeaderRequest::new(call.from.into(), call.to, log_id(call.last))
    }
}

pub fn transfer_reply(response: TransferLeaderResponse<TypeConfig>) -> Result<(), TransferRefusal> {
    response.map_err(|error| match error {
        TransferLeaderError::VoteChanged { expected, actual } => {
            TransferRefusal::BallotChanged { expected: expected.into(), actual: actual.into() }
        }
        TransferLeaderError::LogNotFlushed { expected, actual } => {
            let (expected, actual) = (position(expected), position(actual));
            TransferRefusal::LogNotFlushed { expected, actual }
        }
    })
}

pub fn transfer_response(reply: Result<(), TransferRefusal>) -> TransferLeaderResponse<TypeConfig> {
    reply.map_err(|refusal| match refusal {
        TransferRefusal::BallotChanged { expected, actual } => {
            TransferLeaderError::VoteChanged { expected: expected.into(), actual: actual.into() }
        }
        TransferRefusal::LogNotFlushed { expected, actual } => {
            let (expected, actual) = (log_id(expected), log_id(actual));
            TransferLeaderError::LogNotFlushed { expected, actual }
        }
    })
}
