//! Steps taken, and judged as they are.

use std::collections::BTreeSet;

use base::{BrokerId, TopicPartition};
use plan::moves::{Move, ThrottleChange};
use plan::{
    AllowUnavailable, BrokerState, Me, Plan, PodPhase, RestartReason, Standing, Step, next_step,
    standing,
};

use super::{Blind, Lie, Partition, Pod, Set, World};

/// What becomes of a step.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Fate {
    #[default]
    Done,
    /// The operator dies before it.
    Skipped,
    /// The operator dies in the middle of it.
    Half,
}

impl World {
    /// One pass of an operator. Returns its plan, or that of the one whose cluster it is.
    pub fn pass(&mut self, blind: Blind, lie: Lie, fate: Fate) -> Plan {
        self.turn += 1;
        let by = if self.rivals { self.turn % 2 } else { 0 };
        let me = Me { name: ["ns/one", "ns/other"][by], class: "" };
        let owner = self.owner.as_deref().filter(|_| lie != Lie::NoOwner);
        let theirs = match standing(owner, None, me) {
            Standing::Ours => false,
            Standing::Free => {
                self.owner = Some(me.name.to_owned());
                false
            }
            Standing::Others(_) | Standing::OtherClass { .. } => true,
        };
        if let Some(last) = self.last.clone().filter(|_| theirs) {
            return last;
        }
        self.template.by = by;
        let plan = self.pass_of_owner(blind, lie, fate);
        self.last = Some(plan.clone());
        plan
    }

    /// With the brokers out of sight, what does not run may get another pod, and what waits for a
    /// quorum in vain another spec.
    fn may_be_done_blind(&self, step: &Step) -> bool {
        let runs = |pod: &Pod| pod.phase == PodPhase::Running;
        let is_idle = |id: &BrokerId| !self.pods.get(id).is_some_and(runs);
        match step {
            Step::Nothing | Step::Restart { reason: RestartReason::Stuck, .. } => true,
            Step::Restart { reason: RestartReason::FileSystemResize, brokers } => {
                brokers.iter().all(is_idle)
            }
            _ => false,
        }
    }

    fn pass_of_owner(&mut self, blind: Blind, lie: Lie, fate: Fate) -> Plan {
        let mut needs = Vec::new();
        let seen = self.observe(&needs, blind, lie);
        let quorum = seen.cluster.as_ref().and_then(|cluster| cluster.quorum.clone());
        let mut plan = next_step(&seen);
        for _ in 1..plan::ROUNDS_MAX {
            if plan.needs.is_empty() {
                break;
            }
            assert_eq!(plan.step, Step::Nothing, "a plan that needs more decides nothing");
            needs.extend(plan.needs.iter().copied());
            plan = next_step(&self.observe(&needs, blind, lie));
        }
        self.note(format!("{:?} {} | {}", plan.phase, plan.step.name(), plan.message));
        assert!(!plan.message.is_empty(), "{plan:?}");
        if blind.cluster {
            assert!(self.may_be_done_blind(&plan.step), "blind, and all the same: {plan:?}");
        }
        self.taken.insert(plan.step.name());
        if let Some(quorum) = quorum.filter(|_| fate != Fate::Skipped) {
            self.last_voters = quorum.voters.keys().copied().collect();
            if quorum.leader.is_some() {
                self.changing_voter = plan.step.changed_voter();
            }
        }
        if fate != Fate::Skipped {
            let absent = |id: &BrokerId| {
                plan.brokers.get(id).is_some_and(|broker| broker.state == BrokerState::Missing)
            };
            self.missing.retain(|id, _| absent(id));
            for id in plan.brokers.keys().filter(|id| absent(id)) {
                self.missing.entry(*id).or_insert(self.now);
            }
            self.apply(&plan);
            self.take(&plan, fate);
        }
        plan
    }

    fn apply(&mut self, plan: &Plan) {
        if self.spec.paused {
            assert_eq!(plan.step, Step::Nothing);
            return;
        }
        let template = self.template;
        if self.set.is_none() {
            self.voters = (0..self.spec.voters).map(BrokerId).collect();
            self.last_voters = self.voters.iter().copied().collect();
        }
        let before = self.set.as_ref().map_or(0, |set| set.replicas);
        let shrinks = matches!(plan.step, Step::Shrink { .. });
        if plan.size() < before && !shrinks {
            self.violation(format!("{} replicas without a step", plan.size()));
        }
        if !shrinks {
            self.set = Some(Set { replicas: plan.size(), template });
        }
        self.rebalancing = plan.rebalancing;
    }

    fn take(&mut self, plan: &Plan, fate: Fate) {
        let half = fate == Fate::Half;
        match &plan.step {
            Step::Nothing => {}
            Step::Restart { brokers, .. } => {
                let count = if half { brokers.len().div_ceil(2) } else { brokers.len() };
                self.restart(&brokers[..count]);
            }
            Step::Shrink { broker } => self.shrink(*broker, plan.size()),
            Step::Cordon(ids) => self.cordoned.extend(ids.iter().take(if half { 1 } else { 99 })),
            Step::Uncordon(ids) => self.cordoned.retain(|id| !ids.contains(id)),
            Step::StartMoves { moves, throttle } => {
                if let Some(change) = throttle {
                    self.throttle(change);
                }
                let count = if half { moves.len() / 2 } else { moves.len() };
                moves[..count].iter().for_each(|m| self.start(m));
            }
            Step::CancelMoves(partitions) => partitions.iter().for_each(|tp| self.cancel(tp)),
            Step::ClearThrottle(change) => self.throttle(change),
            Step::AddVoter(id) => self.change_voters(*id, true),
            Step::RemoveVoter(id) => self.change_voters(*id, false),
            Step::Unregister(id) => self.unregister(*id),
            Step::RaiseLevel(level) => self.raise_level(*level),
            Step::DeleteClaim(id) => self.delete_claim(*id),
            Step::Replace { broker, volume: true } if half => drop(self.going.insert(*broker)),
            Step::Replace { broker, volume } => self.replace(*broker, *volume),
            Step::ElectPreferred(partitions) => partitions.iter().for_each(|tp| {
                let Some(p) = self.partition_mut(tp) else { return };
                p.leader = p.replicas.first().copied().filter(|id| p.isr.contains(id)).or(p.leader);
            }),
        }
    }

    /// Every broker must be of the release that can read it.
    fn raise_level(&mut self, level: i16) {
        let old = self.pods.iter().find(|(_, pod)| pod.template.readable() < level);
        if let Some((id, _)) = old {
            self.violation(format!("level {level} while broker {id} runs an older release"));
        }
        self.level = Some(level);
    }

    fn restart(&mut self, ids: &[BrokerId]) {
        self.judge_partitions(ids);
        for id in ids.iter().filter(|id| self.going.contains(id)).copied().collect::<Vec<_>>() {
            if self.is_sole(id) {
                self.violation(format!("restart of {id} gives up the only copy that there is"));
            }
        }
        let (before, majority) = (self.live_voters(), self.voters.len() / 2 + 1);
        for id in ids {
            let now = self.now;
            let Some(pod) = self.pods.get_mut(id) else {
                self.violation(format!("restart of {id}, which has no pod"));
                continue;
            };
            pod.phase = PodPhase::Terminating;
            pod.ready = false;
            pod.since = now;
        }
        let after = self.live_voters();
        if before >= majority && after < majority && self.voters.len() > 1 {
            self.violation(format!("restart of {ids:?} leaves {after} of {:?}", self.voters));
        }
        self.after_stop();
    }

    fn replace(&mut self, id: BrokerId, volume: bool) {
        if self.is_active(id) {
            self.violation(format!("{id} is replaced, which serves"));
        }
        if volume && self.gives_up(id) {
            self.violation(format!("{id} is replaced, which may have the last copy"));
        }
        // One on an old spec may never be whole.
        let newest = self.set.as_ref().map_or(0, |set| set.template.revision);
        let comes = |pod: &Pod| pod.is_up() && pod.template.revision == newest && !pod.marked;
        let comes = |other: &&BrokerId| self.pods.get(other).is_some_and(comes);
        let waits = self.replaced.iter().filter(|other| **other != id).find(comes);
        let stays = self.set.as_ref().is_some_and(|set| id.0 < set.replicas);
        if let Some(other) = waits.copied().filter(|_| stays) {
            self.violation(format!("{id} is replaced before {other} is whole"));
        }
        let others = self.voters.iter().filter(|other| **other != id && self.is_up(**other));
        if self.voters.contains(&id) && others.count() * 2 <= self.voters.len() {
            self.violation(format!("{id} is replaced, whose vote is needed"));
        }
        self.pods.remove(&id);
        self.lost.remove(&id);
        self.replaced.extend(Some(id).filter(|_| stays));
        if volume {
            self.going.remove(&id);
            self.claims.remove(&id);
            for p in self.topics.values_mut().flat_map(|topic| &mut topic.partitions) {
                p.lag.remove(&id);
            }
        }
        self.after_stop();
    }

    /// No partition may fall below its minimum by the stop of these brokers. One whose leader is
    /// down while nobody can elect another serves nobody before.
    fn judge_partitions(&mut self, ids: &[BrokerId]) {
        let mut broken = Vec::new();
        for (topic, at, of, p) in self.partitions() {
            if self.controller.is_none() && !p.leader.is_some_and(|id| self.is_active(id)) {
                continue;
            }
            let counts = |id: &&BrokerId| {
                self.is_active(**id) && !p.adding.contains(id) && !p.removing.contains(id)
            };
            let before = p.isr.iter().filter(counts).count();
            let after = p.isr.iter().filter(counts).filter(|id| !ids.contains(id)).count();
            let minimum = of.min_isr.max(1);
            if after == before || after >= minimum {
                continue;
            }
            let settled = p.replicas.len() - p.removing.len();
            let hopeless = settled <= minimum && (after > 0 || settled == 1);
            let proceed = self.spec.rolling.allow_unavailable == AllowUnavailable::Proceed;
            if !(hopeless && proceed) {
                broken.push(format!("restart of {ids:?} takes {topic}-{at} to {after}: {p:?}"));
            }
        }
        broken.into_iter().for_each(|what| self.violation(what));
    }

    fn shrink(&mut self, id: BrokerId, replicas: i32) {
        let size = self.set.as_ref().map_or(0, |set| set.replicas);
        if size != id.0 + 1 || replicas != id.0 {
            self.violation(format!("removal of {id} from a set of {size}, to {replicas}"));
        }
        if self.hosts(id) {
            self.violation(format!("removal of {id}, which hosts replicas"));
        }
        if self.voters.contains(&id) {
            self.violation(format!("removal of {id}, which votes"));
        }
        self.set = Some(Set { replicas, template: self.template });
    }

    fn partition_mut(&mut self, tp: &TopicPartition) -> Option<&mut Partition> {
        self.topics.get_mut(&*tp.topic)?.partitions.get_mut(tp.partition as usize)
    }

    fn start(&mut self, m: &Move) {
        if self.controller.is_none() {
            return;
        }
        let unique: BTreeSet<&BrokerId> = m.replicas.iter().collect();
        let known = m.replicas.iter().all(|id| self.brokers.contains_key(id));
        let racks =
            |ids: &[BrokerId]| ids.iter().map(|id| self.rack(*id)).collect::<BTreeSet<_>>().len();
        let narrower = |p: &Partition| {
            let settled: Vec<BrokerId> =
                p.replicas.iter().copied().filter(|id| !p.removing.contains(id)).collect();
            let stays = settled.iter().all(|id| id.0 < self.replicas);
            stays && racks(&m.replicas) < racks(&settled)
        };
        let topic = self.topics.get(&*m.partition.topic);
        let found = topic.and_then(|t| t.partitions.get(m.partition.partition as usize));
        let Some(p) = found else { return };
        let size = p.replicas.len() - p.removing.len();
        if unique.len() != m.replicas.len() || !known || m.replicas.len() != size || narrower(p) {
            return self.violation(format!("bad move {m:?} of {p:?}"));
        }
        let Some(p) = self.partition_mut(&m.partition) else { return };
        let settled: Vec<BrokerId> =
            p.replicas.iter().copied().filter(|id| !p.adding.contains(id)).collect();
        p.removing = p.replicas.iter().copied().filter(|id| !m.replicas.contains(id)).collect();
        p.adding = m.replicas.iter().copied().filter(|id| !settled.contains(id)).collect();
        p.replicas = m.replicas.iter().chain(&p.removing).copied().collect();
    }

    fn cancel(&mut self, tp: &TopicPartition) {
        if self.controller.is_none() {
            return;
        }
        let minimum = self.topics.get(&*tp.topic).map_or(1, |topic| topic.min_isr);
        let Some(p) = self.partition_mut(tp) else { return };
        let before = p.isr.len();
        let adding = std::mem::take(&mut p.adding);
        p.removing.clear();
        p.replicas.retain(|id| !adding.contains(id));
        p.isr.retain(|id| !adding.contains(id));
        let after = p.isr.len();
        p.leader = p.leader.filter(|id| p.isr.contains(id)).or(p.isr.first().copied());
        if after < before && after < minimum.min(before) {
            self.violation(format!("taking back the move of {tp} leaves {after} in sync"));
        }
    }

    fn throttle(&mut self, change: &ThrottleChange) {
        for (id, rate) in &change.brokers {
            match rate {
                Some(_) => self.throttled.insert(*id),
                None => self.throttled.remove(id),
            };
        }
        for (topic, lists) in &change.topics {
            match lists {
                Some(_) => self.throttled_topics.insert(topic.clone()),
                None => self.throttled_topics.remove(topic),
            };
        }
    }

    fn change_voters(&mut self, id: BrokerId, joins: bool) {
        let legal = self.has_majority() && (!joins || self.is_active(id));
        if joins {
            self.voters.insert(id);
        } else {
            self.voters.remove(&id);
        }
        if !legal || !self.has_majority() {
            self.violation(format!("voters {:?} after {id}: no majority", self.voters));
        }
        self.elect_controller();
    }

    fn unregister(&mut self, id: BrokerId) {
        if self.hosts(id) || self.voters.contains(&id) || self.pods.contains_key(&id) {
            self.violation(format!("{id} is unregistered, but not gone"));
        }
        self.brokers.remove(&id);
    }

    fn delete_claim(&mut self, id: BrokerId) {
        let size = self.set.as_ref().map_or(0, |set| set.replicas);
        let used = self.hosts(id) || self.brokers.contains_key(&id) || self.pods.contains_key(&id);
        if used || id.0 < size || id.0 < self.replicas || !self.spec.delete_claims {
            self.violation(format!("the claim of {id} is deleted, but still of use"));
        }
        self.claims.remove(&id);
    }
}
