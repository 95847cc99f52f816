//! What a broker's server does with requests of clients: produces, consumers' fetches, groups.

use std::future::poll_fn;
use std::sync::Arc;
use std::time::Duration;

use base::{ErrorCode, Offset};
use coordinator::{GroupReply, GroupRequest};
use process::time::timeout;
use replica::{ConsumerFetch, Isolation};
use storage::fetch::Reader;
use storage::partition::{Partition, ProduceWait};
use wire::messages::FetchRequest;
use wire::messages::fetch_request::{FetchPartition, FetchTopic};
use wire::messages::fetch_response::PartitionData;

use crate::message::{Addr, Body, Tp, node_id};
use crate::node::Post;
use crate::plan::Mutation;
use crate::world::World;

/// Small, so that consumers need several fetches to catch up.
const FETCH_BYTES_MAX: i32 = 600;
const PRODUCE_TIMEOUT: Duration = Duration::from_millis(700);

/// A fetch without a session.
const SESSIONLESS: i32 = -1;

/// The way of a batch with acks=all or 1, as the Produce handler goes it.
async fn produce(partition: Arc<Partition>, bytes: &[u8], acks: i16) -> Result<Offset, ErrorCode> {
    let wait = ProduceWait::new(1);
    let commit = (acks == -1).then_some((&wait, 0));
    let appended = partition.append(bytes, acks, commit).map_err(|error| error.code)?;
    wait.registered();
    let Some(ticket) = appended.ticket else { return Ok(appended.info.first_offset) };
    if timeout(PRODUCE_TIMEOUT, poll_fn(|cx| wait.poll(cx))).await.is_err() {
        partition.cancel_commit(ticket);
    }
    match wait.result(0) {
        ErrorCode::None => Ok(appended.info.first_offset),
        error => Err(error),
    }
}

impl World {
    pub(crate) fn hosted(&self, n: usize, tp: Tp) -> Result<Arc<Partition>, ErrorCode> {
        let process = self.nodes[n].process.as_ref().ok_or(ErrorCode::BrokerNotAvailable)?;
        let name = &self.tps[tp];
        process.storage.partitions.find(&name.topic, name.partition)
    }

    fn answer(&mut self, n: usize, to: (Addr, u64), body: Body) {
        self.send_to(Addr::Node(n), to.0, to.1, body);
    }

    pub(crate) fn serve_produce(
        &mut self,
        n: usize,
        from: (Addr, u64),
        id: u64,
        tp: Tp,
        acks: i16,
        bytes: Vec<u8>,
    ) {
        let partition = match self.hosted(n, tp) {
            Ok(partition) => partition,
            Err(error) => {
                return self.answer(n, from, Body::ProduceAnswer { id, result: Err(error) });
            }
        };
        let Some(process) = self.nodes[n].process.as_ref() else { return };
        let outside = process.outside.clone();
        // The mutation: all is acknowledged at once.
        let acks = if self.mutation == Mutation::EarlyAck { 1 } else { acks };
        self.spawn_now(n, async move {
            let result = produce(partition, &bytes, acks).await;
            outside.post(Post::Answer { to: from, body: Body::ProduceAnswer { id, result } });
        });
    }

    pub(crate) fn serve_consume(
        &mut self,
        n: usize,
        from: (Addr, u64),
        id: u64,
        tp: Tp,
        fetch: ConsumerFetch,
    ) {
        self.list_latest(n, tp);
        let Some(process) = self.nodes[n].process.as_ref() else { return };
        let (server, outside, name) = (process.serving(), process.outside.clone(), &self.tps[tp]);
        let topic_id = process.storage.image().topic(&name.topic).map(|topic| topic.id);
        let partition = FetchPartition {
            partition: name.partition,
            current_leader_epoch: fetch.current_leader_epoch,
            fetch_offset: fetch.fetch_offset,
            last_fetched_epoch: fetch.last_fetched_epoch,
            log_start_offset: -1,
            partition_max_bytes: FETCH_BYTES_MAX,
            ..FetchPartition::default()
        };
        let topic_id = topic_id.unwrap_or_default();
        let request = FetchRequest {
            max_wait_ms: 0,
            min_bytes: 1,
            max_bytes: FETCH_BYTES_MAX,
            session_epoch: SESSIONLESS,
            topics: vec![FetchTopic {
                topic_id,
                partitions: vec![partition],
                ..FetchTopic::default()
            }],
            ..FetchRequest::default()
        };
        // Every client is near one broker.
        let near = match from.0 {
            Addr::Client(client) if self.plan.rack_aware_reads => {
                vec![node_id(client % self.nodes.len())]
            }
            _ => Vec::new(),
        };
        let reader = Reader::consumer_near(0, fetch.any_replica, near);
        self.spawn_now(n, async move {
            let response = server.serve(reader, request).await;
            let found = response.and_then(|response| {
                response.responses.into_iter().next()?.partitions.into_iter().next()
            });
            let unread = || PartitionData {
                error_code: ErrorCode::KafkaStorageError.code(),
                ..PartitionData::default()
            };
            let data = Box::new(found.unwrap_or_else(unread));
            outside.post(Post::Answer { to: from, body: Body::ConsumeAnswer { id, data } });
        });
    }

    /// ListOffsets for "latest", answered beside every consumer's fetch.
    fn list_latest(&mut self, n: usize, tp: Tp) {
        let Ok(partition) = self.hosted(n, tp) else { return };
        let epoch = partition.current_leader().1;
        if let Ok(latest) = partition.latest_offset(Isolation::ReadUncommitted) {
            let check = self.checks.latest.answered(tp, epoch, latest);
            self.check(check);
        }
    }

    pub(crate) fn serve_group(
        &mut self,
        n: usize,
        from: (Addr, u64),
        id: u64,
        request: GroupRequest,
    ) {
        // The shard that answers is the one of this moment, of this epoch.
        let partition = self.hosted(n, self.offsets_tp());
        let epoch = partition.map_or(-1, |partition| partition.current_leader().1);
        let Some(process) = self.nodes[n].process.as_ref() else { return };
        let (groups, outside) = (process.groups.clone(), process.outside.clone());
        let image = process.storage.image();
        self.spawn_now(n, async move {
            let reply: GroupReply = groups.call(&image, request).await;
            let body = Body::GroupAnswer { id, epoch, reply };
            outside.post(Post::Answer { to: from, body });
        });
    }
}
