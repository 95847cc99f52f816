//! The metadata quorum, abstractly: one totally ordered log of committed record batches, at most
//! one leader that can commit, and elections among voters that reach a majority. What Raft leaves
//! open is drawn: how much of a dead leader's proposals was committed, when each broker learns.
//! The controller core runs on the leader; a deposed one goes on until it hears of its successor.

use std::collections::VecDeque;

use metadata::{
    Caller, Controller, ControllerRequest, ControllerResponse, ControllerSettings, Entropy, Image,
    MetadataRecord,
};

use crate::check::compare_and_set;
use crate::message::{Addr, Body};
use crate::node::Timer;
use crate::plan::Mutation;
use crate::world::{Action, World, node_id};

/// A proposal of a controller that is not committed yet.
pub(crate) struct Proposal {
    records: Vec<MetadataRecord>,
    /// Who waits for what.
    reply: Option<(Addr, u64, u64, ControllerResponse)>,
}

/// One broker's time as the active controller.
pub(crate) struct Instance {
    pub(crate) epoch: i64,
    core: Controller,
    /// With everything proposed so far.
    image: Image,
    pending: VecDeque<Proposal>,
    entropy: Entropy,
}

pub(crate) struct Quorum {
    /// The image after each committed entry; the first one is empty.
    pub(crate) images: Vec<Image>,
    pub(crate) leader: Option<usize>,
    pub(crate) epoch: i64,
    leader_lost_at_ms: Option<i64>,
    /// What a leader had proposed when it died.
    orphans: VecDeque<Proposal>,
    election_after_ms: i64,
    entropy_seed: u64,
}

impl Quorum {
    pub(crate) fn new(entropy_seed: u64) -> Quorum {
        Quorum {
            images: vec![Image::new("sim")],
            leader: None,
            epoch: 0,
            leader_lost_at_ms: None,
            orphans: VecDeque::new(),
            election_after_ms: 0,
            entropy_seed,
        }
    }

    pub(crate) fn latest(&self) -> &Image {
        self.images.last().expect("invariant: the empty image is always there")
    }

    /// The process of this controller died.
    pub(crate) fn orphan(&mut self, controller: Option<Instance>) {
        if let Some(controller) = controller
            && controller.epoch == self.epoch
        {
            self.orphans = controller.pending;
            // It may be back soon, but not as the leader that it was.
            self.leader = None;
        }
    }

    pub(crate) fn entries(&self) -> usize {
        self.images.len() - 1
    }
}

/// How often the leader's heartbeats carry metadata and its name to everyone.
const HEARTBEAT_MS: i64 = 50;

impl World {
    pub(crate) fn quorum_tick(&mut self) {
        self.schedule(HEARTBEAT_MS, Action::QuorumTick);
        let has_leader = self.quorum.leader.is_some_and(|node| self.can_lead_quorum(node));
        if has_leader {
            self.quorum.leader_lost_at_ms = None;
            return self.announce();
        }
        let lost_at = *self.quorum.leader_lost_at_ms.get_or_insert(self.now_ms);
        if lost_at == self.now_ms {
            self.quorum.election_after_ms = self.rng.between(100, 600);
        }
        if self.now_ms - lost_at >= self.quorum.election_after_ms {
            let candidates: Vec<usize> =
                (0..self.plan.voters).filter(|&node| self.can_lead_quorum(node)).collect();
            if !candidates.is_empty() {
                let node = *self.rng.pick(&candidates);
                self.elect(node);
            }
        }
    }

    /// Alive, awake, and in touch with a majority of voters that are.
    fn can_lead_quorum(&self, node: usize) -> bool {
        let runs = |n: usize| self.nodes[n].up && self.nodes[n].paused_until_ms <= self.now_ms;
        let reached = (0..self.plan.voters).filter(|&other| {
            let cut = self.faults.is_cut(Addr::Node(node), Addr::Node(other))
                || self.faults.is_cut(Addr::Node(other), Addr::Node(node));
            runs(other) && (other == node || !cut)
        });
        runs(node) && reached.count() * 2 > self.plan.voters
    }

    fn elect(&mut self, node: usize) {
        // Of what the old leader proposed last, any prefix may have been committed.
        let mut pending = std::mem::take(&mut self.quorum.orphans);
        let old = self.quorum.leader.and_then(|old| self.nodes[old].controller.as_mut());
        if let Some(old) = old {
            pending.append(&mut old.pending);
        }
        let committed = self.rng.below(pending.len() + 1);
        let committed = pending.into_iter().take(committed);
        for proposal in committed.filter(|proposal| !proposal.records.is_empty()) {
            self.commit(&proposal.records);
        }
        self.quorum.epoch += 1;
        self.quorum.leader = Some(node);
        self.quorum.leader_lost_at_ms = None;
        let epoch = self.quorum.epoch;
        self.mix(&[4, node as u64, epoch as u64]);
        self.trace(|_| format!("controller {node} epoch {epoch}"));
        let image = self.quorum.latest().clone();
        let settings = ControllerSettings {
            default_replication_factor: self.plan.replication_factor as i16,
            // Moving leaderships back is a fault like any other here.
            rebalance_interval_ms: 3_000,
            ..ControllerSettings::default()
        };
        let (core, records) =
            Controller::activate(settings, node_id(node), epoch, &image, self.now_ms);
        let entropy =
            Entropy::from_seed(u128::from(self.quorum.entropy_seed) << 64 | epoch as u128);
        let pending = VecDeque::new();
        self.nodes[node].controller = Some(Instance { epoch, core, image, pending, entropy });
        self.propose(node, records, None);
        self.after(0, node, Timer::Controller { epoch });
        self.announce();
    }

    /// The leader's heartbeat: its name, and whatever metadata a broker lacks.
    fn announce(&mut self) {
        let Some(leader) = self.quorum.leader else { return };
        let entries = self.quorum.entries();
        for node in 0..self.nodes.len() {
            let from = Addr::Node(leader);
            if node == leader || !self.faults.is_cut(from, Addr::Node(node)) {
                let delay = if node == leader { 0 } else { self.delay() };
                self.schedule(delay, Action::Metadata { node, entries });
            }
        }
    }

    pub(crate) fn controller_tick(&mut self, node: usize, epoch: i64) {
        let now = self.now_ms;
        let Some(instance) = self.nodes[node].controller.as_mut() else { return };
        if instance.epoch != epoch {
            return;
        }
        let records = instance.core.tick(&instance.image, now);
        let next = instance.core.next_deadline(&instance.image).max(now + 1) - now;
        if !records.is_empty() {
            self.propose(node, records, None);
        }
        self.after(next.min(100), node, Timer::Controller { epoch });
    }

    pub(crate) fn session_closed(&mut self, node: usize, session: u64, ended: bool) {
        let now = self.now_ms;
        if self.nodes[node].up
            && let Some(instance) = self.nodes[node].controller.as_mut()
        {
            instance.core.session_closed(session, now);
            if ended {
                instance.core.process_ended(session, now);
            }
        }
    }

    /// A request reached a broker that may be the controller.
    pub(crate) fn control(
        &mut self,
        node: usize,
        from: (Addr, u64),
        id: u64,
        session: u64,
        mut request: ControllerRequest,
    ) {
        let now = self.now_ms;
        let local = from.0 == Addr::Node(node);
        let Some(instance) = self.nodes[node].controller.as_mut() else {
            let refused = Body::ControlAnswer { id, response: None };
            return self.send_to(Addr::Node(node), from.0, from.1, refused);
        };
        let before = instance.image.clone();
        let original = request.clone();
        if self.mutation == Mutation::IsrWithoutCompareAndSet {
            forget_partition_epochs(&before, &mut request);
        }
        let caller = Caller { session: (!local).then_some(session) };
        let outcome = instance.core.handle(&before, now, caller, &mut instance.entropy, request);
        let idle = instance.pending.is_empty();
        self.check_accepted(&before, &original, &outcome.response);
        // Nothing to commit; but the answer may tell of what others are waiting to commit.
        if outcome.records.is_empty() && idle {
            let answer = Body::ControlAnswer { id, response: Some(outcome.response) };
            return self.send_to(Addr::Node(node), from.0, from.1, answer);
        }
        self.propose(node, outcome.records, Some((from.0, from.1, id, outcome.response)));
    }

    fn check_accepted(
        &mut self,
        image: &Image,
        request: &ControllerRequest,
        response: &ControllerResponse,
    ) {
        // Under the mutation the consequences are to be found, not the act.
        if self.mutation == Mutation::IsrWithoutCompareAndSet {
            return;
        }
        if let (ControllerRequest::AlterIsr(request), ControllerResponse::AlterIsr(response)) =
            (request, response)
        {
            for (proposal, result) in request.partitions.iter().zip(&response.partitions) {
                if result.result.is_ok() {
                    let check = compare_and_set::accepted(image, request.broker_id, proposal);
                    self.check(check);
                }
            }
        }
    }

    fn propose(
        &mut self,
        node: usize,
        records: Vec<MetadataRecord>,
        reply: Option<(Addr, u64, u64, ControllerResponse)>,
    ) {
        let Some(instance) = self.nodes[node].controller.as_mut() else { return };
        let next = if records.is_empty() {
            Ok(instance.image.clone())
        } else {
            instance.image.with(&records)
        };
        match next {
            Ok(image) => instance.image = image,
            Err(error) => {
                let detail = format!("the controller proposed what does not apply: {error}");
                return self.fail(crate::check::Property::CompareAndSet, detail);
            }
        }
        instance.pending.push_back(Proposal { records, reply });
        let epoch = instance.epoch;
        let delay = self.rng.between(1, 4);
        self.schedule(delay, Action::Commit { epoch });
    }

    /// One proposal of the current leader is committed, in order.
    pub(crate) fn commit_next(&mut self, epoch: i64) {
        let Some(leader) = self.quorum.leader else { return };
        if epoch != self.quorum.epoch {
            return;
        }
        if !self.can_lead_quorum(leader) {
            return self.schedule(20, Action::Commit { epoch });
        }
        let Some(instance) = self.nodes[leader].controller.as_mut() else { return };
        let Some(proposal) = instance.pending.pop_front() else { return };
        if !proposal.records.is_empty() {
            self.commit(&proposal.records);
        }
        if let Some((to, incarnation, id, response)) = proposal.reply {
            let answer = Body::ControlAnswer { id, response: Some(response) };
            self.send_to(Addr::Node(leader), to, incarnation, answer);
        }
        self.announce();
    }

    fn commit(&mut self, records: &[MetadataRecord]) {
        let offset = self.quorum.entries() as i64;
        let mut image = self.quorum.latest().clone();
        if let Err(error) = image.apply(offset, records) {
            let detail = format!("committed records do not apply: {error}");
            return self.fail(crate::check::Property::CompareAndSet, detail);
        }
        self.trace(|_| format!("committed {offset}: {records:?}"));
        self.quorum.images.push(image);
        for node in 0..self.nodes.len() {
            self.note_registration(node);
        }
        for tp in 0..self.tps.len() {
            self.check_in_sync(tp);
        }
    }

    /// Once a new incarnation is registered, what its predecessor lost must have consequences.
    fn note_registration(&mut self, node: usize) {
        let registered = self.quorum.latest().broker(node_id(node)).map(|b| b.incarnation_id);
        let new = self.nodes[node].up && registered == Some(self.nodes[node].incarnation_id());
        if self.disks[node].lost && new {
            self.disks[node].lost = false;
        }
    }

    pub(crate) fn metadata_arrived(&mut self, node: usize, entries: usize) {
        let (leader, epoch) = (self.quorum.leader, self.quorum.epoch);
        let state = &mut self.nodes[node];
        if !state.up || state.paused_until_ms > self.now_ms {
            return;
        }
        if let Some(leader) = leader {
            state.believed = Some(leader);
            if state.controller.as_ref().is_some_and(|c| c.epoch < epoch) {
                state.controller = None;
            }
        }
        if entries > state.image_at {
            state.image_at = entries;
            self.publish(node);
        }
    }
}

/// The mutation: proposals count as made for whatever is current.
fn forget_partition_epochs(image: &Image, request: &mut ControllerRequest) {
    if let ControllerRequest::AlterIsr(request) = request {
        for proposal in &mut request.partitions {
            if let Some(now) = image.partition_by_id(proposal.topic_id, proposal.partition) {
                proposal.partition_epoch = now.partition_epoch;
            }
        }
    }
}
