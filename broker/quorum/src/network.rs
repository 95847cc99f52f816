//! Raft's outgoing messages. Log entries, heartbeats and snapshots have a connection each, so
//! that none waits behind another; votes share the one of the entries.

use std::collections::HashMap;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use openraft::OptionalSend;
use openraft::errors::{NetworkError, RPCError, ReplicationClosed, StreamingError, Unreachable};
use openraft::network::v2::RaftNetworkV2;
use openraft::network::{Backoff, RPCOption, RaftNetworkFactory};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, TransferLeaderRequest,
    TransferLeaderResponse, VoteRequest, VoteResponse,
};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::api::CallError;
use crate::config::NodeAddress;
use crate::edge;
use crate::formats::{SnapshotHead, decode, encode};
use crate::messages::{
    AppendCall, AppendReply, SnapshotPiece, SnapshotReply, TransferCall, TransferRefusal, VoteCall,
    VoteQuestion, VoteReply,
};
use crate::rpc::{Channel, Dialer, Link, kind};
use crate::suspicion::Suspicion;
use crate::types::{NodeId, Records, Snapshot, TypeConfig, Vote};

/// An append may wait for a busy disk; only a dead connection ends it sooner.
const APPEND_TIMEOUT: Duration = Duration::from_secs(1);
const PIECE_TIMEOUT: Duration = Duration::from_secs(10);
const PIECE_BYTES: usize = 1 << 20;
/// The pause before a node that could not be reached is tried again.
const RETRY_MS: [u64; 4] = [10, 20, 50, 100];

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Lane {
    Entries,
    Heartbeats,
    Snapshots,
}

/// Makes the clients; links are kept and shared, because openraft asks for a new client per
/// election and per change of the members.
pub struct Network {
    dialer: Dialer,
    suspicion: Arc<Suspicion>,
    links: HashMap<(NodeId, Lane), (NodeAddress, Arc<Link>)>,
}

impl Network {
    pub fn new(dialer: Dialer, suspicion: Arc<Suspicion>) -> Network {
        Network { dialer, suspicion, links: HashMap::new() }
    }

    fn client(&mut self, target: NodeId, address: &NodeAddress, lane: Lane) -> Client {
        let key = (target, lane);
        if self.links.get(&key).is_none_or(|(known, _)| known != address) {
            let link = Link::new(self.dialer.clone(), target, address.clone(), Channel::Raft);
            self.links.insert(key, (address.clone(), Arc::new(link)));
        }
        let link = self.links[&key].1.clone();
        Client { link, suspicion: self.suspicion.clone() }
    }
}

impl RaftNetworkFactory<TypeConfig> for Network {
    type Network = Client;

    async fn new_client(&mut self, target: NodeId, node: &NodeAddress) -> Client {
        self.client(target, node, Lane::Entries)
    }

    async fn new_heartbeat_client(&mut self, target: NodeId, node: &NodeAddress) -> Client {
        self.client(target, node, Lane::Heartbeats)
    }

    async fn new_snapshot_client(&mut self, target: NodeId, node: &NodeAddress) -> Client {
        self.client(target, node, Lane::Snapshots)
    }
}

pub struct Client {
    link: Arc<Link>,
    suspicion: Arc<Suspicion>,
}

type RpcResult<T> = Result<T, RPCError<TypeConfig>>;

fn rpc_error(error: CallError) -> RPCError<TypeConfig> {
    match error {
        CallError::NoAnswer(_) | CallError::Busy => RPCError::Network(NetworkError::new(&error)),
        // A node that is not admitted yet refuses; it is asked again after a pause, too.
        _ => RPCError::Unreachable(Unreachable::new(&error)),
    }
}

impl Client {
    async fn call<Q: Serialize, A: DeserializeOwned>(
        &self,
        kind: u8,
        request: &Q,
        timeout: Duration,
    ) -> RpcResult<A> {
        let encoded = encode(request).map_err(|e| RPCError::Network(NetworkError::new(&e)))?;
        let answer = self.link.call(kind, Bytes::from(encoded), timeout).await;
        let answer = answer.map_err(rpc_error)?;
        decode(&answer).map_err(|e| RPCError::Network(NetworkError::new(&e)))
    }

    async fn send_pieces(&self, vote: Vote, snapshot: Snapshot) -> RpcResult<Vote> {
        let SnapshotHead { last, members } = (&snapshot.meta).into();
        let content = snapshot.snapshot;
        let mut offset = 0;
        loop {
            let end = (offset + PIECE_BYTES).min(content.len());
            let piece = SnapshotPiece {
                ballot: vote.into(),
                last,
                members: members.clone(),
                offset: offset as u64,
                total: content.len() as u64,
                bytes: Records(content.slice(offset..end)),
            };
            let reply: SnapshotReply = self.call(kind::SNAPSHOT, &piece, PIECE_TIMEOUT).await?;
            match reply.installed {
                Some(ballot) => return Ok(ballot.into()),
                None if end < content.len() => offset = end,
                None => {
                    let error = std::io::Error::other("the snapshot was not installed");
                    return Err(RPCError::Network(NetworkError::new(&error)));
                }
            }
        }
    }
}

impl RaftNetworkV2<TypeConfig> for Client {
    type SnapshotData = Bytes;

    async fn append_entries(
        &mut self,
        request: AppendEntriesRequest<TypeConfig>,
        option: RPCOption,
    ) -> RpcResult<AppendEntriesResponse<TypeConfig>> {
        let call = AppendCall::from(request);
        let timeout = option.hard_ttl().max(APPEND_TIMEOUT);
        let reply: AppendReply = self.call(kind::APPEND, &call, timeout).await?;
        Ok(reply.into())
    }

    async fn vote(
        &mut self,
        request: VoteRequest<TypeConfig>,
        option: RPCOption,
    ) -> RpcResult<VoteResponse<TypeConfig>> {
        let leader_died = self.suspicion.leader_died();
        let call = VoteCall { question: request.into(), leader_died };
        let reply: VoteReply = self.call(kind::VOTE, &call, option.hard_ttl()).await?;
        Ok(reply.into())
    }

    async fn pre_vote(
        &mut self,
        request: VoteRequest<TypeConfig>,
        option: RPCOption,
    ) -> RpcResult<VoteResponse<TypeConfig>> {
        let question = VoteQuestion::from(request);
        let reply: VoteReply = self.call(kind::PRE_VOTE, &question, option.hard_ttl()).await?;
        Ok(reply.into())
    }

    async fn full_snapshot(
        &mut self,
        vote: Vote,
        snapshot: Snapshot,
        cancel: impl Future<Output = ReplicationClosed> + OptionalSend + 'static,
        _option: RPCOption,
    ) -> Result<SnapshotResponse<TypeConfig>, StreamingError<TypeConfig>> {
        tokio::select! {
            closed = cancel => Err(StreamingError::Closed(closed)),
            sent = self.send_pieces(vote, snapshot) => match sent {
                Ok(vote) => Ok(SnapshotResponse::new(vote)),
                Err(RPCError::Unreachable(error)) => Err(StreamingError::Unreachable(error)),
                Err(error) => Err(StreamingError::Network(NetworkError::new(&error))),
            },
        }
    }

    async fn transfer_leader(
        &mut self,
        request: TransferLeaderRequest<TypeConfig>,
        option: RPCOption,
    ) -> RpcResult<TransferLeaderResponse<TypeConfig>> {
        let call = TransferCall::from(request);
        let reply: Result<(), TransferRefusal> =
            self.call(kind::TRANSFER_LEADER, &call, option.hard_ttl()).await?;
        Ok(edge::transfer_response(reply))
    }

    fn backoff(&self) -> Option<Backoff> {
        let longest = RETRY_MS[RETRY_MS.len() - 1];
        let pauses = RETRY_MS.into_iter().chain(std::iter::repeat(longest));
        Some(Backoff::new(pauses.map(Duration::from_millis)))
    }
}
