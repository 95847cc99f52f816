//! What comes to a broker and what it asks for: messages, its clock, its posts.

use base::BrokerId;
use quorum::CallError;
use replica::IsrProposal;
use storage::partition::Partition;

use crate::check::isr_kept::Proposal;
use crate::message::{Addr, Body, Envelope};
use crate::node::{Post, Timer};
use crate::world::World;

impl World {
    pub(crate) fn node_receives(&mut self, n: usize, envelope: Envelope) {
        let from = (envelope.from, envelope.from_incarnation);
        self.runtime.enter(n);
        match envelope.body {
            Body::Fetch { link, request } => self.serve_fetch(n, link, request),
            Body::FetchAnswer { link, response } => self.fetch_arrives(link, *response),
            Body::Control { id, session, payload } => self.control(n, from, id, session, payload),
            Body::ControlAnswer { id, result } => {
                self.call_ends(id, result.map_err(CallError::Refused));
            }
            Body::Produce { id, tp, acks, bytes } => {
                self.serve_produce(n, from, id, tp, acks, bytes);
            }
            Body::Consume { id, tp, fetch } => self.serve_consume(n, from, id, tp, fetch),
            Body::Group { id, request } => self.serve_group(n, from, id, request),
            Body::ProduceAnswer { .. } | Body::ConsumeAnswer { .. } | Body::GroupAnswer { .. } => {}
        }
    }

    pub(crate) fn node_timer(&mut self, n: usize, timer: Timer) {
        self.runtime.enter(n);
        match timer {
            Timer::Tick => self.tick_replicas(n),
            Timer::Checkpoint => self.checkpoint(n),
            Timer::DiskWork => self.work_on_disk(n),
            Timer::CallTimeout { id } => {
                self.call_ends(id, Err(CallError::NoAnswer("no answer in time".to_owned())));
            }
        }
    }

    /// Acts upon what processes posted.
    pub(crate) fn take_posts(&mut self) {
        loop {
            let posts = std::mem::take(&mut *self.posts.lock());
            if posts.is_empty() {
                return;
            }
            for (n, incarnation, post) in posts {
                match post {
                    Post::Close { link } => self.close_link(link),
                    post if self.nodes[n].is_up(incarnation) => self.take_post(n, post),
                    _ => {}
                }
            }
        }
    }

    fn take_post(&mut self, n: usize, post: Post) {
        match post {
            Post::Answer { to, body } => self.send_to(Addr::Node(n), to.0, to.1, body),
            Post::Fetch { link, leader, end, request } => {
                self.send_fetch(n, link, leader, end, request);
            }
            Post::Fetched { link, response } => self.answer_fetch(n, link, response),
            Post::Close { link } => self.close_link(link),
            Post::Call { payload, answer } => self.call_leader(n, payload, answer),
            Post::Controlled { to, id, request, result } => {
                self.check_accepted(n, to.0, &request, &result);
                let body = Body::ControlAnswer { id, result };
                self.send_to(Addr::Node(n), to.0, to.1, body);
            }
            Post::Propose { term, records, done } => self.propose(n, term, records, done),
        }
    }

    /// Looks at the ISRs that leaders are about to propose.
    pub(crate) fn see_proposals(&mut self, n: usize) {
        let Some(process) = self.nodes[n].process.as_ref() else { return };
        for (partition, proposal) in process.storage.partitions.outbox().isr_proposals.waiting() {
            self.see_proposal(n, &partition, &proposal);
        }
    }

    fn see_proposal(&mut self, n: usize, partition: &Partition, proposal: &IsrProposal) {
        let Some(tp) = self.tp_of(&partition.id) else { return };
        let Some(image) = self.nodes[n].process.as_ref().map(|p| p.storage.image()) else { return };
        let Some(known) = self.nodes[n].known.get_mut(&tp) else { return };
        // Judged once, when it is new: it may wait for the controller beside one that is outdated.
        if known.proposed.is_some_and(|seen| seen >= proposal.partition_epoch) {
            return;
        }
        known.proposed = Some(proposal.partition_epoch);
        let behind = known.behind.clone();
        let (high_watermark, moved_ms) = (known.high_watermark(), known.moved_ms);
        let state = image.partition(&partition.id.topic, partition.id.partition);
        let (Some(moved_ms), Some(state)) = (moved_ms, state) else { return };
        // A process that began since may not have what the one before it had.
        let had_all = |id: BrokerId| {
            self.nodes.iter().any(|node| node.id == id && node.booted_ms <= moved_ms)
        };
        let goes = |id: &&BrokerId| {
            image.is_active(**id)
                && had_all(**id)
                && !behind.contains(id)
                && proposal.isr.iter().all(|(member, _)| member != *id)
        };
        let proposal = Proposal {
            tp,
            leader: n,
            content: &self.disks[n].content[tp],
            high_watermark,
            moved_ms,
            leaving: state.isr.iter().filter(goes).copied().collect(),
        };
        let check = self.checks.isr_kept(&proposal, self.plan.lag_time_max_ms, self.now_ms);
        self.check(check);
    }
}
