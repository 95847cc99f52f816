//! Incoming requests: each is decoded here and handed to Raft, to the admission of nodes, or to
//! the controller.

use std::sync::{Arc, Weak};

use base::TopicId;
use bytes::Bytes;
use openraft::raft::AppendEntriesRequest;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::api::{BoxFuture, SessionEvent};
use crate::config::may_be_same;
use crate::core::Core;
use crate::edge;
use crate::formats::{decode, encode};
use crate::machine::Raft;
use crate::messages::{
    AppendCall, AppendReply, JoinCall, RejoinCall, SnapshotPiece, StatusReply, TransferCall,
    VoteCall, VoteQuestion, VoteReply,
};
use crate::rpc::{Channel, Peer, Refusal, RequestHandler, kind};
use crate::types::{NodeId, broker_id};
use crate::{admission, members, session, snapshots, waiting};

/// The handler behind the listener. Weak, because connections must not keep a stopped node alive.
pub struct Service(pub Weak<Core>);

impl RequestHandler for Service {
    fn request(&self, peer: Peer, kind: u8, payload: Bytes) -> BoxFuture<Result<Bytes, Refusal>> {
        let Some(core) = self.0.upgrade() else {
            return Box::pin(async { Err(Refusal::Other("stopping".into())) });
        };
        if kind == kind::CONTROLLER {
            return controller_request(&core, peer, payload);
        }
        Box::pin(async move {
            match kind {
                kind::STATUS => answer(&status(&core, peer.node)),
                kind::BOOTSTRAP => answer(&admission::accept_bootstrap(&core)),
                kind::JOIN => {
                    let call: JoinCall = parse(&payload)?;
                    speaks_for(&peer, call.member.id)?;
                    answer(&members::join(&core, call).await)
                }
                kind::REJOIN => {
                    let call: RejoinCall = parse(&payload)?;
                    speaks_for(&peer, call.id)?;
                    answer(&members::forget(&core, call.id, call.directory).await)
                }
                _ => raft_request(&core, kind, &payload).await,
            }
        })
    }

    /// Only the leader's list of members is sure to be the newest: others refuse nobody by it.
    fn refuse(&self, node: NodeId, directory: TopicId, channel: Channel) -> Option<String> {
        let core = self.0.upgrade()?;
        let decides = channel == Channel::Controller && core.leadership.borrow().is_self;
        let known = core.listed(node).filter(|_| decides)?;
        let strange = !may_be_same(known.directory, directory);
        strange.then(|| members::taken(node, directory, &known))
    }

    fn opened(&self, peer: Peer) {
        self.tell(
            peer,
            SessionEvent::Opened { broker: broker_id(peer.node), session: peer.session },
        );
    }

    fn closed(&self, peer: Peer) {
        self.tell(
            peer,
            SessionEvent::Closed { broker: broker_id(peer.node), session: peer.session },
        );
        let Some(core) = self.0.upgrade().filter(|_| peer.channel == Channel::Controller) else {
            return;
        };
        let leads = core.leadership.borrow().is_self;
        // Without a runtime the node itself stops.
        if let (true, Ok(runtime)) = (leads, tokio::runtime::Handle::try_current()) {
            runtime.spawn(session::tell_if_ended(core, peer));
        }
    }
}

impl Service {
    fn tell(&self, peer: Peer, event: SessionEvent) {
        if peer.channel == Channel::Controller
            && let Some(core) = self.0.upgrade()
        {
            core.controller.session(event);
        }
    }
}

fn controller_request(
    core: &Arc<Core>,
    peer: Peer,
    payload: Bytes,
) -> BoxFuture<Result<Bytes, Refusal>> {
    if !core.leadership.borrow().is_self {
        return Box::pin(async { Err(Refusal::NotLeader) });
    }
    let answer = core.controller.request(broker_id(peer.node), peer.session, payload);
    Box::pin(async move { answer.await.map_err(Refusal::Other) })
}

/// What is asked about a node it asks itself.
fn speaks_for(peer: &Peer, node: NodeId) -> Result<(), Refusal> {
    if peer.node == node {
        return Ok(());
    }
    Err(other(format!("node {} cannot speak for node {node}", peer.node)))
}

fn parse<T: DeserializeOwned>(payload: &[u8]) -> Result<T, Refusal> {
    decode(payload).map_err(|e| Refusal::Other(format!("the request cannot be read: {e}")))
}

fn answer<T: Serialize>(value: &T) -> Result<Bytes, Refusal> {
    encode(value).map(Bytes::from).map_err(other)
}

fn other(error: impl std::fmt::Display) -> Refusal {
    Refusal::Other(error.to_string())
}

fn status(core: &Core, asker: NodeId) -> StatusReply {
    let metrics = core.metrics();
    StatusReply {
        standing: core.standing(),
        term: metrics.as_ref().map_or(0, |metrics| metrics.current_term),
        leader: core.known_leader(),
        asker_votes: metrics.map(|m| m.membership_config.voter_ids().any(|id| id == asker)),
    }
}

async fn raft_request(core: &Core, kind: u8, payload: &[u8]) -> Result<Bytes, Refusal> {
    let not_admitted = || other("this node is not admitted to the quorum yet");
    let raft: &Raft = core.raft.get().ok_or_else(not_admitted)?;
    waiting::check(core, kind)?;
    match kind {
        kind::VOTE => {
            let VoteCall { mut question, leader_died } = parse(payload)?;
            let candidate = question.ballot.candidate.node;
            if leader_died && session::confirm_leader_died(core, candidate).await {
                // What openraft calls a transfer is a vote that the lease does not stand against.
                question.handed_over = true;
            }
            let reply = raft.vote(question.into()).await.map_err(other)?;
            answer(&VoteReply::from(reply))
        }
        kind::PRE_VOTE => {
            let question: VoteQuestion = parse(payload)?;
            let reply = raft.pre_vote(question.into()).await.map_err(other)?;
            answer(&VoteReply::from(reply))
        }
        kind::APPEND => {
            let call: AppendCall = parse(payload)?;
            let request = AppendEntriesRequest::try_from(call).map_err(other)?;
            let reply = raft.append_entries(request).await.map_err(other)?;
            answer(&AppendReply::from(reply))
        }
        kind::TRANSFER_LEADER => {
            let call: TransferCall = parse(payload)?;
            let reply = raft.handle_transfer_leader(call.into()).await.map_err(other)?;
            answer(&edge::transfer_reply(reply))
        }
        kind::SNAPSHOT => {
            let piece: SnapshotPiece = parse(payload)?;
            answer(&snapshots::receive(core, raft, piece).await?)
        }
        _ => Err(other("unknown request")),
    }
}
