//! Both ends of a connection between a follower and its leader: the real fetch loop and the real
//! server of fetches, with the world's network in between.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Poll, Waker};

use base::{BrokerId, Offset};
use bytes::Bytes;
use commitlog::SegmentFile;
use parking_lot::Mutex;
use replica::FollowerFetch;
use storage::fetch::{Fetch, FetchServer, Reader};
use storage::follower::{Dial, FetchError, FetchLink};
use wire::Records;
use wire::messages::{FetchRequest, FetchResponse};

use crate::content::index_at;
use crate::message::{Addr, Body, Tp};
use crate::plan::Mutation;
use crate::world::{Action, World};

use super::{Outside, Post, Process};

/// The API version that brokers fetch with.
const VERSION: i16 = 17;

/// A follower's end.
#[derive(Default)]
pub(crate) struct LinkEnd(Mutex<EndState>);

#[derive(Default)]
struct EndState {
    arrived: Option<FetchResponse>,
    is_broken: bool,
    waker: Option<Waker>,
}

impl LinkEnd {
    fn set(&self, change: impl FnOnce(&mut EndState)) {
        let mut state = self.0.lock();
        change(&mut state);
        if let Some(waker) = state.waker.take() {
            waker.wake();
        }
    }
}

/// The world's knowledge of a connection.
pub(crate) struct Link {
    follower: usize,
    leader: usize,
    /// Of the leader's process.
    incarnation: u64,
    end: Arc<LinkEnd>,
    /// The leader's task for the request that it has.
    serving: Option<u64>,
}

/// Connects followers.
pub(crate) struct Dialer(pub(crate) Outside);

pub(crate) struct SimLink {
    id: u64,
    outside: Outside,
    leader: usize,
    end: Arc<LinkEnd>,
}

impl Dial for Dialer {
    type Link = SimLink;

    async fn connect(&self, leader: BrokerId, _: &str, _: u16) -> Result<SimLink, FetchError> {
        let (outside, end) = (self.0.clone(), Arc::<LinkEnd>::default());
        Ok(SimLink { id: outside.fresh_id(), outside, leader: leader.0 as usize, end })
    }
}

impl FetchLink for SimLink {
    async fn send(&mut self, request: &FetchRequest) -> Result<(), FetchError> {
        self.outside.post(Post::Fetch {
            link: self.id,
            leader: self.leader,
            end: self.end.clone(),
            request: Box::new(request.clone()),
        });
        Ok(())
    }

    fn has_begun(&self) -> bool {
        self.end.0.lock().arrived.is_some()
    }

    async fn response(&mut self) -> Result<(), FetchError> {
        poll_fn(|cx| {
            let mut state = self.end.0.lock();
            if state.arrived.is_some() {
                return Poll::Ready(Ok(()));
            }
            if state.is_broken {
                return Poll::Ready(Err(FetchError::Link("the connection broke".into())));
            }
            state.waker = Some(cx.waker().clone());
            Poll::Pending
        })
        .await
    }

    fn receive<T>(&mut self, process: impl FnOnce(FetchResponse) -> T) -> Result<T, FetchError> {
        let arrived = self.end.0.lock().arrived.take();
        arrived.map(process).ok_or_else(|| FetchError::Link("nothing arrived".into()))
    }

    fn release(&mut self) {}
}

impl Drop for SimLink {
    fn drop(&mut self) {
        self.outside.post(Post::Close { link: self.id });
    }
}

impl World {
    /// A follower's request leaves.
    pub(crate) fn send_fetch(
        &mut self,
        n: usize,
        id: u64,
        leader: usize,
        end: Arc<LinkEnd>,
        request: Box<FetchRequest>,
    ) {
        let incarnation = self.nodes[leader].incarnation;
        let new = Link { follower: n, leader, incarnation, end, serving: None };
        let known = self.links.entry(id).or_insert(new).incarnation;
        let body = Body::Fetch { link: id, request };
        self.send_to(Addr::Node(n), Addr::Node(leader), known, body);
    }

    /// A message on it was lost, or one end is gone: both notice, sooner or later.
    pub(crate) fn lose_link(&mut self, id: u64) {
        let pause = self.rng.between(20, 400);
        self.schedule(pause, Action::LinkBroken { link: id });
    }

    pub(crate) fn link_broken(&mut self, id: u64) {
        if let Some(link) = self.links.remove(&id) {
            link.end.set(|end| end.is_broken = true);
            self.abort_task(link.serving);
        }
    }

    /// The follower closed it: its leader hears of that.
    pub(crate) fn close_link(&mut self, id: u64) {
        if self.links.contains_key(&id) {
            let delay = self.delay();
            self.schedule(delay, Action::LinkBroken { link: id });
        }
    }

    /// A process ended, and with it its ends of connections.
    pub(crate) fn break_links(&mut self, n: usize) {
        let touched = self.links.iter().filter(|(_, l)| l.follower == n || l.leader == n);
        let touched: Vec<u64> = touched.map(|(&id, _)| id).collect();
        for id in touched {
            let delay = self.delay();
            self.schedule(delay, Action::LinkBroken { link: id });
        }
    }

    pub(crate) fn serve_fetch(&mut self, n: usize, id: u64, mut request: Box<FetchRequest>) {
        // It was closed meanwhile.
        if !self.links.contains_key(&id) {
            return;
        }
        self.break_rules(n, &mut request);
        let Some(process) = self.nodes[n].process.as_ref() else { return };
        let (server, outside) = (process.serving(), process.outside.clone());
        let task = self.spawn_now(n, async move {
            let replica = &request.replica_state;
            let (id_of, epoch) = (BrokerId(replica.replica_id), replica.replica_epoch);
            let reader = Reader::follower(&server.storage.image(), id_of, epoch);
            let response = server.serve(reader, *request).await;
            outside.post(Post::Fetched { link: id, response });
        });
        match self.links.get_mut(&id) {
            Some(link) => link.serving = Some(task),
            None => self.abort_task(Some(task)),
        }
    }

    /// The response leaves; without one, its records could not be read, which ends the connection.
    pub(crate) fn answer_fetch(&mut self, n: usize, id: u64, response: Option<FetchResponse>) {
        let Some(link) = self.links.get_mut(&id) else { return };
        link.serving = None;
        let follower = link.follower;
        match response {
            Some(response) => {
                let body = Body::FetchAnswer { link: id, response: Box::new(response) };
                self.send(Addr::Node(n), Addr::Node(follower), body);
            }
            None => self.lose_link(id),
        }
    }

    pub(crate) fn fetch_arrives(&mut self, id: u64, response: FetchResponse) {
        if let Some(link) = self.links.get(&id) {
            link.end.set(|end| end.arrived = Some(response));
        }
    }

    /// The mutations of a leader: it takes a follower for one batch further than it says, or does
    /// not hear of the epoch by which it would find a divergence.
    fn break_rules(&self, n: usize, request: &mut FetchRequest) {
        let Some(process) = self.nodes[n].process.as_ref() else { return };
        let replica = request.replica_state.clone();
        for topic in &mut request.topics {
            for partition in &mut topic.partitions {
                match self.mutation {
                    Mutation::NoTruncation => partition.last_fetched_epoch = -1,
                    Mutation::HighWatermark => {
                        let hosted = &process.storage.partitions;
                        let found = hosted.get_by_id(topic.topic_id, partition.partition);
                        let Some(hosted) = found else { continue };
                        let Some(tp) = self.tp_of(&hosted.id) else { continue };
                        let fetch = FollowerFetch {
                            replica: BrokerId(replica.replica_id),
                            broker_epoch: replica.replica_epoch,
                            eligible: true,
                            current_leader_epoch: partition.current_leader_epoch,
                            fetch_offset: self.one_further(n, tp, partition.fetch_offset),
                            last_fetched_epoch: partition.last_fetched_epoch,
                            log_start: partition.log_start_offset,
                        };
                        // What is refused is refused again, to the follower.
                        let _ = hosted.note_follower(&fetch);
                    }
                    _ => {}
                }
            }
        }
    }

    fn one_further(&self, n: usize, tp: Tp, offset: Offset) -> Offset {
        let content = &self.disks[n].content[tp];
        content.get(index_at(content, offset)).map_or(offset, |batch| batch.last + 1)
    }
}

/// What a process serves fetches with.
pub(crate) struct Serving {
    pub(crate) storage: Arc<storage::Storage>,
    sessions: Arc<storage::fetch::FetchSessions>,
    reads: process::BlockingPool,
}

impl Process {
    pub(crate) fn serving(&self) -> Serving {
        let (storage, sessions) = (self.storage.clone(), self.sessions.clone());
        Serving { storage, sessions, reads: self.reads.clone() }
    }
}

impl Serving {
    /// The response with its records in memory; `None` if they cannot be read.
    pub(crate) async fn serve(
        &self,
        reader: Reader,
        request: FetchRequest,
    ) -> Option<FetchResponse> {
        let server = FetchServer {
            may_read: None,
            storage: &self.storage,
            sessions: &self.sessions,
            reads: &self.reads,
            is_memory_scarce: &|| false,
        };
        let fetch = Fetch { reader, version: VERSION, request, age: Default::default() };
        let mut response = server.serve(fetch).await;
        let topics = response.responses.iter_mut();
        for data in topics.flat_map(|topic| &mut topic.partitions) {
            if let Records::File(range) = &data.records {
                let mut bytes = vec![0; range.len];
                let file = range.file.downcast_ref::<SegmentFile>()?;
                let read = file.read_at(&mut bytes, range.position).ok()?;
                bytes.truncate(read);
                data.records = Records::Bytes(Bytes::from(bytes));
            }
        }
        Some(response)
    }
}
