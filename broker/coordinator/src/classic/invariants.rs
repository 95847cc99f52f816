//! The invariants at the head of `classic.rs`, asserted after events where debug assertions are on.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::{ClassicGroup, GroupState};

impl ClassicGroup {
    /// Panics when an invariant of this group is broken.
    pub(crate) fn validate(&self) {
        match self.state {
            GroupState::Empty => assert!(self.members.is_empty(), "empty with members: {self:?}"),
            GroupState::Stable | GroupState::CompletingRebalance => {
                assert!(!self.members.is_empty(), "active without members: {self:?}");
            }
            GroupState::PreparingRebalance => {}
            GroupState::Dead => panic!("dead groups are not kept: {self:?}"),
        }
        assert!(self.generation >= 0, "a generation is not negative: {self:?}");
        match &self.leader {
            Some(leader) => assert!(self.members.contains_key(leader), "no such leader: {self:?}"),
            None => assert!(self.members.is_empty(), "members without a leader: {self:?}"),
        }
        self.validate_members();
        self.validate_phase();
    }

    fn validate_members(&self) {
        for (id, member) in &self.members {
            assert_eq!(*id, member.id, "a member under another id: {self:?}");
            assert!(!self.pending_members.contains_key(id), "a member is pending: {self:?}");
            if let Some(instance) = &member.instance_id {
                let owner = self.static_members.get(instance);
                assert_eq!(owner, Some(id), "another member has the instance id: {self:?}");
            }
        }
        let instances = self.members.values().filter(|m| m.instance_id.is_some()).count();
        assert_eq!(instances, self.static_members.len(), "static members differ: {self:?}");
        let mut supporters: BTreeMap<Arc<str>, usize> = BTreeMap::new();
        for protocol in self.members.values().flat_map(|m| &m.protocols) {
            *supporters.entry(protocol.name.clone()).or_default() += 1;
        }
        assert_eq!(supporters, self.protocol_supporters, "supporters of protocols: {self:?}");
    }

    fn validate_phase(&self) {
        let joins: Vec<_> = self.members.values().filter_map(|m| m.awaiting_join).collect();
        let syncs: Vec<_> = self.members.values().filter_map(|m| m.awaiting_sync).collect();
        assert_eq!(joins.len(), self.joins_awaited, "count of joins: {self:?}");
        let (is_joining, is_syncing) = match self.state {
            GroupState::PreparingRebalance => (true, false),
            GroupState::CompletingRebalance => (false, true),
            _ => (false, false),
        };
        assert!(joins.is_empty() || is_joining, "a join awaited: {self:?}");
        assert!(syncs.is_empty() || is_syncing, "a sync awaited: {self:?}");
        let tickets: BTreeSet<_> = joins.iter().chain(&syncs).collect();
        assert_eq!(tickets.len(), joins.len() + syncs.len(), "a ticket waits twice: {self:?}");
        for id in &self.pending_sync {
            assert!(self.members.contains_key(id), "a sync of nobody is awaited: {self:?}");
        }
        let may_count = is_joining || is_syncing;
        assert!(self.assigning.is_none() || may_count, "assignments on their way: {self:?}");
    }
}

#[cfg(test)]
mod tests {
    use base::testing::said_of;

    use super::*;
    use crate::{Booking, Protocol, Ticket, classic::Member};

    fn group() -> ClassicGroup {
        let mut group = ClassicGroup::new("g".into());
        for id in ["a", "b"] {
            group.insert(Member {
                id: id.into(),
                instance_id: Some(format!("i-{id}").into()),
                client_id: "c".into(),
                client_host: "h".into(),
                session_timeout_ms: 10_000,
                rebalance_timeout_ms: 10_000,
                protocol_type: "consumer".into(),
                protocols: vec![Protocol { name: "range".into(), metadata: "".into() }],
                assignment: "".into(),
                awaiting_join: None,
                awaiting_sync: None,
                is_new: false,
                booking: Booking::default(),
            });
        }
        group.state = GroupState::Stable;
        group
    }

    /// What [`ClassicGroup::validate`] says of a stable group in which something is broken.
    fn said(fault: impl FnOnce(&mut ClassicGroup)) -> String {
        said_of(group(), ClassicGroup::validate, fault)
    }

    #[test]
    fn a_planted_fault_is_seen() {
        assert!(said(|g| g.state = GroupState::Empty).contains("empty with members"));
        assert!(said(|g| g.leader = Some("z".into())).contains("no such leader"));
        assert!(said(|g| g.leader = None).contains("members without a leader"));
        assert!(said(|g| drop(g.static_members.remove("i-a"))).contains("instance id"));
        assert!(said(|g| g.joins_awaited = 1).contains("count of joins"));
        assert!(said(|g| g.protocol_supporters.clear()).contains("supporters"));
        let stranger = |g: &mut ClassicGroup| g.pending_sync.extend(["z".into()]);
        assert!(said(stranger).contains("a sync of nobody"));
        assert!(said(|g| g.assigning = Some(Default::default())).contains("on their way"));
        let wait = |g: &mut ClassicGroup| {
            g.state = GroupState::CompletingRebalance;
            g.members.values_mut().for_each(|m| m.awaiting_sync = Some(Ticket(7)));
        };
        assert!(said(wait).contains("a ticket waits twice"));
    }
}
