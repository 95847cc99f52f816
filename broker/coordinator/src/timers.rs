//! The shard's deadlines, by what they are for. At most one deadline exists per purpose, so the
//! number of timers is bounded by members and groups, whatever clients do.

use std::collections::{BTreeMap, BTreeSet};

use crate::{GroupId, MemberId};

/// What happens at a deadline.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Timer {
    /// The join phase ends, or its initial delay is looked at again.
    Rebalance(GroupId),
    /// Members that have not synchronised are removed.
    Sync(GroupId),
    /// The member (or the id that was promised to one) is thought gone.
    Session(GroupId, MemberId),
    /// A member of a consumer group that has not given up its partitions is removed.
    Revocation(GroupId, MemberId),
    /// The target assignment of a consumer group is computed.
    Target(GroupId),
    /// Committed offsets are checked for expiry.
    OffsetExpiry,
}

/// Invariant: `order` holds exactly the pairs of `deadlines`, turned around.
#[derive(Default, Debug)]
pub(crate) struct Timers {
    deadlines: BTreeMap<Timer, i64>,
    order: BTreeSet<(i64, Timer)>,
}

impl Timers {
    /// Sets the deadline of `timer`, replacing the one it had.
    pub(crate) fn set(&mut self, timer: Timer, at_ms: i64) {
        if let Some(old_ms) = self.deadlines.insert(timer.clone(), at_ms) {
            self.order.remove(&(old_ms, timer.clone()));
        }
        self.order.insert((at_ms, timer));
    }

    pub(crate) fn is_set(&self, timer: &Timer) -> bool {
        self.deadlines.contains_key(timer)
    }

    pub(crate) fn cancel(&mut self, timer: &Timer) {
        if let Some(old_ms) = self.deadlines.remove(timer) {
            self.order.remove(&(old_ms, timer.clone()));
        }
    }

    /// Removes and returns one timer that is due, earliest first.
    pub(crate) fn pop_due(&mut self, now_ms: i64) -> Option<Timer> {
        if self.order.first()?.0 > now_ms {
            return None;
        }
        let (_, timer) = self.order.pop_first()?;
        self.deadlines.remove(&timer);
        Some(timer)
    }

    pub(crate) fn next_deadline(&self) -> Option<i64> {
        self.order.first().map(|(at_ms, _)| *at_ms)
    }

    /// Panics when the invariant above is seen to be broken: by the numbers, and at the next timer.
    pub(crate) fn validate(&self) {
        assert_eq!(self.order.len(), self.deadlines.len(), "a timer has two deadlines: {self:?}");
        if let Some((at_ms, timer)) = self.order.first() {
            assert_eq!(self.deadlines.get(timer), Some(at_ms), "a late timer: {self:?}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timers_fire_in_order_once_and_only_when_due() {
        let mut timers = Timers::default();
        let session = |member: &str| Timer::Session("g".into(), member.into());
        timers.set(session("a"), 30);
        timers.set(session("b"), 10);
        timers.set(Timer::Rebalance("g".into()), 20);
        timers.set(session("b"), 40);
        timers.cancel(&session("a"));
        assert_eq!(timers.next_deadline(), Some(20));
        assert_eq!(timers.pop_due(19), None);
        assert_eq!(timers.pop_due(40), Some(Timer::Rebalance("g".into())));
        assert_eq!(timers.pop_due(40), Some(session("b")));
        assert_eq!((timers.pop_due(40), timers.next_deadline()), (None, None));
    }
}
