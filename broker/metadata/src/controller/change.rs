//! A change of one partition: the caller sets the targets, [`PartitionChange::build`] completes
//! reassignments, keeps the eligible leader replicas (KIP-966) and elects a leader. All changes of
//! existing partitions pass here, so that these rules hold whatever caused the change.
//!
//! Order of election: the leader stays if it can; else the first replica, in assignment order,
//! that is in the ISR or the ELR; else the last known leader, if nobody is in either; else, where
//! unclean election is allowed, any active replica.

use std::sync::Arc;

use base::{BrokerId, TopicId};

use crate::image::Partition;
use crate::record::{LeaderChange, LeaderRecoveryState, PartitionChangeRecord};

/// What a topic's configs say about elections.
#[derive(Clone, Copy)]
pub(super) struct ElectionRules {
    pub min_isr: usize,
    pub unclean: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Election {
    /// Keep the leader if it can stay, else elect a clean one.
    Online,
    /// Move leadership to the preferred replica if it can lead.
    Preferred,
    /// As `Online`, and any active replica when there is no clean one.
    Unclean,
}

pub(super) struct PartitionChange {
    topic_id: TopicId,
    index: i32,
    old: Arc<Partition>,
    rules: ElectionRules,
    pub replicas: Vec<BrokerId>,
    pub isr: Vec<BrokerId>,
    elr: Vec<BrokerId>,
    last_known_elr: Vec<BrokerId>,
    pub adding: Vec<BrokerId>,
    pub removing: Vec<BrokerId>,
    pub offline: Vec<BrokerId>,
    pub election: Election,
    pub recovery_state: LeaderRecoveryState,
    /// A replica that may have lost records: its broker came back uncleanly, or its log directory
    /// failed. It is not eligible.
    pub unclean_shutdown: Option<BrokerId>,
    /// That replica came back with an empty disk.
    pub disk_replaced: bool,
}

struct Elected {
    leader: Option<BrokerId>,
    unclean: bool,
}

impl PartitionChange {
    pub fn new(
        topic_id: TopicId,
        index: i32,
        old: Arc<Partition>,
        rules: ElectionRules,
    ) -> PartitionChange {
        PartitionChange {
            topic_id,
            index,
            rules,
            replicas: old.replicas.clone(),
            isr: old.isr.clone(),
            elr: old.elr.clone(),
            last_known_elr: old.last_known_elr.clone(),
            adding: old.adding.clone(),
            removing: old.removing.clone(),
            offline: old.offline.clone(),
            election: Election::Online,
            recovery_state: old.leader_recovery_state,
            unclean_shutdown: None,
            disk_replaced: false,
            old,
        }
    }

    /// The record of the change; `None` if everything stays as it is.
    pub fn build(mut self, is_active: impl Fn(BrokerId) -> bool) -> Option<PartitionChangeRecord> {
        self.complete_reassignment();
        self.offline.retain(|b| self.replicas.contains(b));
        self.update_elr();
        let offline = std::mem::take(&mut self.offline);
        let leader = self.elect(|b| is_active(b) && !offline.contains(&b));
        let old = &self.old;
        let changed = |new: Vec<BrokerId>, old: &[BrokerId]| (new != old).then_some(new);
        let record = PartitionChangeRecord {
            topic_id: self.topic_id,
            partition: self.index,
            partition_epoch: old.partition_epoch + 1,
            leader,
            isr: changed(self.isr, &old.isr),
            elr: changed(self.elr, &old.elr),
            last_known_elr: changed(self.last_known_elr, &old.last_known_elr),
            replicas: changed(self.replicas, &old.replicas),
            adding: changed(self.adding, &old.adding),
            removing: changed(self.removing, &old.removing),
            offline: changed(offline, &old.offline),
            leader_recovery_state: (self.recovery_state != old.leader_recovery_state)
                .then_some(self.recovery_state),
        };
        let nothing = PartitionChangeRecord {
            topic_id: record.topic_id,
            partition: record.partition,
            partition_epoch: record.partition_epoch,
            ..PartitionChangeRecord::default()
        };
        let broken = || old.changed(&record).validate().err().filter(|_| old.validate().is_ok());
        debug_assert_eq!(broken(), None, "by {record:?}");
        (record != nothing).then_some(record)
    }

    /// A reassignment is complete when all added replicas are in sync and, without the removed
    /// ones, somebody is. Those in sync leave only when enough others are: else what is committed
    /// would be left to fewer replicas than it was promised to.
    fn complete_reassignment(&mut self) {
        if self.adding.is_empty() && self.removing.is_empty() {
            return;
        }
        let keeps = |b: &BrokerId| !self.removing.contains(b);
        let isr: Vec<BrokerId> = self.isr.iter().copied().filter(keeps).collect();
        if isr.is_empty() || !self.adding.iter().all(|b| isr.contains(b)) {
            return;
        }
        let replicas: Vec<BrokerId> = self.replicas.iter().copied().filter(keeps).collect();
        // Who is fenced by this very change, or was before, has left the ISR and misses nothing.
        let has_all = |b: &&BrokerId| {
            let told = [&self.isr, &self.old.isr, &self.elr].iter().any(|all| all.contains(b));
            told && self.unclean_shutdown != Some(**b)
        };
        let leave = self.removing.iter().any(|b| has_all(&b));
        if leave && isr.len() < self.rules.min_isr.min(replicas.len()) {
            return;
        }
        self.replicas = replicas;
        self.isr = isr;
        self.adding.clear();
        self.removing.clear();
    }

    /// Who leaves an ISR that falls below its minimum stays eligible: as the high watermark does
    /// not move then, it misses nothing that is committed. With enough in-sync replicas nobody
    /// else is.
    fn update_elr(&mut self) {
        let replicas = &self.replicas;
        let minimum = self.rules.min_isr.min(replicas.len());
        if self.isr.len() >= minimum {
            self.elr.clear();
            self.last_known_elr.clear();
            return;
        }
        let mut candidates = std::mem::take(&mut self.elr);
        candidates.extend(self.old.isr.iter().copied());
        for broker in candidates {
            let excluded = self.isr.contains(&broker)
                || self.elr.contains(&broker)
                || self.unclean_shutdown == Some(broker)
                || !replicas.contains(&broker);
            if !excluded {
                self.elr.push(broker);
            }
        }
        if self.isr.is_empty() && self.last_known_elr.is_empty() {
            self.last_known_elr.extend(self.old.leader);
        }
        let lost = self.unclean_shutdown.filter(|_| self.disk_replaced && replicas.len() > 1);
        self.last_known_elr.retain(|b| replicas.contains(b) && lost != Some(*b));
    }

    fn elect(&mut self, is_active: impl Fn(BrokerId) -> bool) -> LeaderChange {
        let elected = match self.election {
            Election::Preferred => self.elect_preferred(&is_active),
            Election::Online | Election::Unclean => self.elect_any(&is_active),
        };
        if let Some(leader) = elected.leader {
            self.enthrone(leader, elected.unclean);
        }
        if elected.leader != self.old.leader {
            return elected.leader.map_or(LeaderChange::Nobody, LeaderChange::To);
        }
        // Replicas that were removed may still believe that they replicate: a new epoch fences
        // them.
        let removed = self.old.replicas.iter().any(|b| !self.replicas.contains(b));
        match elected.leader {
            Some(leader) if removed || elected.unclean => LeaderChange::To(leader),
            _ => LeaderChange::Unchanged,
        }
    }

    fn enthrone(&mut self, leader: BrokerId, unclean: bool) {
        if unclean {
            // Nobody else's log can be trusted to agree with the new leader's.
            self.isr = vec![leader];
            self.elr.clear();
            self.last_known_elr.clear();
            self.recovery_state = LeaderRecoveryState::Recovering;
        } else if !self.isr.contains(&leader) {
            self.isr.push(leader);
            self.elr.retain(|b| *b != leader);
            self.update_elr_after_election();
        }
    }

    /// A leader from the ELR joined the ISR, which may have reached its minimum by that.
    fn update_elr_after_election(&mut self) {
        self.last_known_elr.clear();
        if self.isr.len() >= self.rules.min_isr.min(self.replicas.len()) {
            self.elr.clear();
        }
    }

    fn elect_preferred(&self, is_active: &impl Fn(BrokerId) -> bool) -> Elected {
        match self.replicas.first() {
            // In sync, not merely eligible: the leader may have newer records that are not
            // committed.
            Some(&preferred) if self.isr.contains(&preferred) && is_active(preferred) => {
                Elected { leader: Some(preferred), unclean: false }
            }
            _ => self.elect_any(is_active),
        }
    }

    fn elect_any(&self, is_active: &impl Fn(BrokerId) -> bool) -> Elected {
        let can_lead = |b: &BrokerId| self.is_eligible(*b) && is_active(*b);
        let stays = self.old.leader.filter(can_lead);
        let clean = stays.or_else(|| self.replicas.iter().copied().find(can_lead));
        if clean.is_some() {
            return Elected { leader: clean, unclean: false };
        }
        let nobody_eligible = self.isr.is_empty() && self.elr.is_empty();
        let last_known = self.last_known_elr.first().copied().filter(|b| is_active(*b));
        if nobody_eligible && last_known.is_some() {
            return Elected { leader: last_known, unclean: true };
        }
        let any = || self.replicas.iter().copied().find(|b| is_active(*b));
        let unclean = if self.election == Election::Unclean { any() } else { None };
        Elected { leader: unclean, unclean: unclean.is_some() }
    }

    fn is_eligible(&self, broker: BrokerId) -> bool {
        let known = self.isr.contains(&broker) || self.elr.contains(&broker);
        known && self.replicas.contains(&broker)
    }
}
