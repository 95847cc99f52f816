//! Connections between followers and leaders, and the network in between.

use std::sync::Arc;

use base::{BrokerId, Offset};
use replica::FollowerFetch;
use storage::fetch::Reader;
use wire::messages::{FetchRequest, FetchResponse};

use crate::content::index_at;
use crate::message::{Addr, Body, Tp};
use crate::node::{Link, LinkEnd, Post};
use crate::plan::Mutation;
use crate::world::{Action, World};

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
