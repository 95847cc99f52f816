//! The metadata quorum, abstractly: one totally ordered log of committed record batches, at most
//! one leader that can commit, and elections among voters that reach a majority. What Raft leaves
//! open is drawn: how much of a dead leader's proposals was committed, when each broker learns.
//! The controller's task runs in every broker; a deposed one goes on until it hears of its
//! successor. Requests to it travel on sessions, which break.

use std::sync::Arc;

use bytes::Bytes;
use metadata::{AlterIsrRequest, ControllerRequest, ControllerResponse, Image, MetadataRecord};
use quorum::{CallError, ControllerHandler, Leadership, ProposeError, Session, SessionEvent};
use tokio::sync::oneshot;

use crate::check::{compare_and_set, session_kept};
use crate::message::{Addr, Body, Envelope, node_id};
use crate::node::{Post, Timer};
use crate::plan::Mutation;
use crate::quorum::Proposal;
use crate::world::{Action, World};

/// How often the leader's heartbeats carry metadata and its name to everyone.
const HEARTBEAT_MS: i64 = 50;
const CALL_TIMEOUT_MS: i64 = 300;

/// How many proposals of ISRs reach the controller twice.
const REPEATED_PER_MILLE: i64 = 100;

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
        let pending = std::mem::take(&mut self.quorum.pending);
        let committed = self.rng.below(pending.len() + 1);
        for (at, proposal) in pending.into_iter().enumerate() {
            if at < committed {
                self.commit(&proposal.records, proposal.made_ms);
            }
            // Its process may be gone.
            let _ = proposal.done.send(Err(ProposeError::OutcomeUnknown));
        }
        self.quorum.epoch += 1;
        self.quorum.leader = Some(node);
        self.quorum.leader_lost_at_ms = None;
        let epoch = self.quorum.epoch;
        self.mix(&[4, node as u64, epoch]);
        self.trace(|_| format!("controller {node} epoch {epoch}"));
        self.learn(node, self.quorum.entries());
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

    pub(crate) fn metadata_arrived(&mut self, node: usize, entries: usize) {
        let state = &self.nodes[node];
        if state.up && state.paused_until_ms <= self.now_ms {
            self.learn(node, entries);
        }
    }

    fn learn(&mut self, n: usize, entries: usize) {
        let (leader, term) = (self.quorum.leader, self.quorum.epoch);
        let node = &mut self.nodes[n];
        let Some(process) = node.process.as_ref() else { return };
        if entries > node.image_at {
            node.image_at = entries;
            process.images.send_replace(self.quorum.images[entries].clone());
            self.note_replicas(n);
        }
        let Some(leader) = leader else { return };
        let Some(process) = self.nodes[n].process.as_ref() else { return };
        let leader_id = Some(node_id(leader));
        let leadership = Leadership { leader: leader_id, term, is_self: leader == n };
        let is_new = process
            .leadership
            .send_if_modified(|known| std::mem::replace(known, leadership) != leadership);
        if is_new {
            self.new_session(n);
        }
    }

    /// A log that the broker's metadata does not want here any more may go, or may stay.
    pub(crate) fn note_replicas(&mut self, n: usize) {
        let image = self.quorum.images[self.nodes[n].image_at].clone();
        for (tp, name) in self.tps.iter().enumerate() {
            let partition = image.partition(&name.topic, name.partition);
            if partition.is_some_and(|partition| !partition.is_replica(node_id(n))) {
                self.disks[n].synced[tp] = 0;
                self.disks[n].torn[tp] = true;
            }
        }
    }

    /// The broker has a connection to whom it takes for the active controller.
    fn new_session(&mut self, n: usize) {
        self.nodes[n].session = self.fresh_id();
        let Some(process) = self.nodes[n].process.as_ref() else { return };
        let leader = process.leadership.borrow().leader;
        process.quorum_session.send_modify(|session| {
            *session = Session { leader, connected: true, generation: session.generation + 1 };
        });
    }

    // ---- requests to the active controller ---------------------------------------------------

    pub(crate) fn call_leader(
        &mut self,
        n: usize,
        payload: Bytes,
        answer: oneshot::Sender<Result<Bytes, CallError>>,
    ) {
        let leader = self.nodes[n].process.as_ref().and_then(|p| p.leadership.borrow().leader);
        let Some(leader) = leader.filter(|leader| *leader != node_id(n)) else {
            // Who asked may have given up.
            let _ = answer.send(Err(CallError::NoLeader));
            return;
        };
        let (id, session) = (self.fresh_id(), self.nodes[n].session);
        self.calls.insert(id, (n, answer));
        self.after(CALL_TIMEOUT_MS, n, Timer::CallTimeout { id });
        let body = Body::Control { id, session, payload };
        self.send(Addr::Node(n), Addr::Node(leader.0 as usize), body);
    }

    pub(crate) fn call_ends(&mut self, id: u64, result: Result<Bytes, CallError>) {
        if let Some((_, answer)) = self.calls.remove(&id) {
            let _ = answer.send(result);
        }
    }

    /// The connection to the controller broke while a request was on it: both sides notice.
    pub(crate) fn connection_lost(&mut self, from: Addr, to: Addr, session: u64) {
        let (Addr::Node(of), Addr::Node(node)) = (from, to) else { return };
        self.new_session(of);
        let delay = self.delay();
        let closed = Action::SessionClosed { node, of, session, ended: false };
        self.schedule(delay, closed);
    }

    /// A second process with a broker's id connects to the controller, and gives up.
    pub(crate) fn claim_to_be_a_broker(&mut self) {
        if self.healing() {
            return;
        }
        let pause = self.rng.between(1, 2 * self.plan.impostor_every_ms);
        self.schedule(pause, Action::Impostor);
        let (of, session) = (self.rng.below(self.nodes.len()), self.fresh_id());
        let ends_in = self.rng.between(0, 40);
        let Some(node) = self.quorum.leader.filter(|leader| *leader != of) else { return };
        let Some(process) = self.nodes[node].process.as_ref() else { return };
        self.trace(|_| format!("somebody claims to be {of}, on session {session}"));
        process.mailbox.session(SessionEvent::Opened { broker: node_id(of), session });
        self.schedule(ends_in, Action::SessionClosed { node, of, session, ended: false });
    }

    pub(crate) fn session_closed(&mut self, n: usize, of: usize, session: u64, ended: bool) {
        let Some(process) = self.nodes[n].process.as_ref() else { return };
        self.runtime.enter(n);
        let broker = node_id(of);
        process.mailbox.session(SessionEvent::Closed { broker, session });
        self.checks.sessions.closed(session);
        if ended {
            process.mailbox.session(SessionEvent::Ended { broker, session });
        }
    }

    /// A request reached a broker that may be the controller.
    pub(crate) fn control(
        &mut self,
        n: usize,
        from: (Addr, u64),
        id: u64,
        session: u64,
        payload: Bytes,
    ) {
        let Addr::Node(sender) = from.0 else { return };
        let Some(process) = self.nodes[n].process.as_ref() else { return };
        let request = match metadata::decode_request(&payload) {
            Ok(request) => request,
            Err(error) => panic!("a broker's own request cannot be read: {error}"),
        };
        let (outside, mailbox) = (process.outside.clone(), process.mailbox.clone());
        if matches!(request, ControllerRequest::AlterIsr(_)) && self.rng.chance(REPEATED_PER_MILLE)
        {
            // Its sender took it for lost, and asks again while this one is still on its way.
            let pause = self.rng.between(50, 1_500);
            let (payload, to_incarnation) = (payload.clone(), self.nodes[n].incarnation);
            let body = Body::Control { id: 0, session, payload };
            let (from, from_incarnation) = from;
            let to = Addr::Node(n);
            let again = Envelope { from, from_incarnation, to, to_incarnation, body };
            self.schedule(pause, Action::Deliver(Box::new(again)));
        }
        let mut payload = payload;
        if let ControllerRequest::AlterIsr(proposals) = &request
            && self.mutation == Mutation::IsrWithoutCompareAndSet
        {
            payload = forget_partition_epochs(self.quorum.latest(), proposals.clone());
        }
        if self.checks.sessions.open(session, node_id(sender)) {
            mailbox.session(SessionEvent::Opened { broker: node_id(sender), session });
        }
        if let ControllerRequest::Heartbeat(heartbeat) = &request {
            let heard = session_kept::Heard {
                controller: (n, self.quorum.epoch),
                at_ms: self.now_ms,
                session,
                broker_epoch: heartbeat.broker_epoch,
                wants_to_stay: !heartbeat.want_shutdown && heartbeat.offline.is_empty(),
            };
            self.checks.sessions.heard(node_id(sender), heard);
        }
        self.spawn_now(n, async move {
            let handled = ControllerHandler::request(&mailbox, node_id(sender), session, payload);
            let result = handled.await;
            outside.post(Post::Controlled { to: from, id, request, result });
        });
    }

    pub(crate) fn check_accepted(
        &mut self,
        n: usize,
        sender: Addr,
        request: &ControllerRequest,
        result: &Result<Bytes, String>,
    ) {
        // Under the mutation the consequences are to be found, not the act.
        if self.mutation == Mutation::IsrWithoutCompareAndSet {
            return;
        }
        let response = result.as_ref().ok().and_then(|r| metadata::decode_response(r).ok());
        self.trace(|_| format!("  {n} answers {sender:?}: {response:?}"));
        if let (
            ControllerRequest::AlterIsr(request),
            Some(ControllerResponse::AlterIsr(response)),
        ) = (request, response)
        {
            for (proposal, result) in request.partitions.iter().zip(&response.partitions) {
                if let Ok(state) = &result.result {
                    let accepted = (state.leader_epoch, state.partition_epoch);
                    let images = &self.quorum.images;
                    let check =
                        compare_and_set::accepted(images, request.broker_id, proposal, accepted);
                    self.check(check);
                }
            }
        }
    }

    // ---- the log ---------------------------------------------------------------------------

    pub(crate) fn propose(
        &mut self,
        n: usize,
        term: u64,
        records: Vec<MetadataRecord>,
        done: oneshot::Sender<Result<u64, ProposeError>>,
    ) {
        if self.quorum.leader != Some(n) || self.quorum.epoch != term {
            let leader = self.quorum.leader.map(node_id);
            let _ = done.send(Err(ProposeError::NotLeader { leader }));
            return;
        }
        self.quorum.pending.push_back(Proposal { records, made_ms: self.now_ms, done });
        let delay = self.rng.between(1, 4);
        self.schedule(delay, Action::Commit { epoch: term });
    }

    /// One proposal of the current leader is committed, in order.
    pub(crate) fn commit_next(&mut self, epoch: u64) {
        let Some(leader) = self.quorum.leader else { return };
        if epoch != self.quorum.epoch {
            return;
        }
        if !self.can_lead_quorum(leader) {
            return self.schedule(20, Action::Commit { epoch });
        }
        let Some(proposal) = self.quorum.pending.pop_front() else { return };
        self.commit(&proposal.records, proposal.made_ms);
        let entries = self.quorum.entries();
        self.learn(leader, entries);
        let _ = proposal.done.send(Ok(entries as u64));
        self.announce();
    }

    fn commit(&mut self, records: &[MetadataRecord], made_ms: i64) {
        let offset = self.quorum.entries() as i64;
        let before = self.quorum.latest().clone();
        let mut image = (*before).clone();
        if let Err(error) = image.apply(offset, records) {
            let detail = format!("committed records do not apply: {error}");
            return self.fail(crate::check::Property::CompareAndSet, detail);
        }
        self.trace(|_| format!("committed {offset}: {records:?}"));
        self.quorum.images.push(Arc::new(image));
        for node in 0..self.nodes.len() {
            self.note_registration(node);
            self.check_fenced(node, &before, made_ms);
        }
        for tp in 0..self.tps.len() {
            self.check_in_sync(tp);
        }
    }

    /// Once a new incarnation is registered, what its predecessor lost must have consequences.
    fn note_registration(&mut self, node: usize) {
        let registered = self.quorum.latest().broker(node_id(node)).map(|b| b.incarnation_id);
        let process = self.nodes[node].process.as_ref();
        let own = process.map(|process| process.storage.partitions.incarnation_id);
        if self.disks[node].lost && own.is_some() && registered == own {
            self.disks[node].lost = false;
        }
    }

    fn check_fenced(&mut self, node: usize, before: &Image, made_ms: i64) {
        let id = node_id(node);
        let (old, new) = (before.broker(id), self.quorum.latest().broker(id));
        let (Some(old), Some(new)) = (old, new) else { return };
        if old.epoch == new.epoch && !old.fenced && new.fenced {
            let controller = self.quorum.leader.map(|leader| (leader, self.quorum.epoch));
            let check = self.checks.sessions.fenced(id, old.epoch, controller, made_ms);
            self.check(check);
        }
    }
}

/// The mutation: proposals count as made for whatever is current.
fn forget_partition_epochs(image: &Image, mut request: AlterIsrRequest) -> Bytes {
    for proposal in &mut request.partitions {
        if let Some(now) = image.partition_by_id(proposal.topic_id, proposal.partition) {
            proposal.partition_epoch = now.partition_epoch;
        }
    }
    metadata::encode_request(&ControllerRequest::AlterIsr(request)).into()
}
