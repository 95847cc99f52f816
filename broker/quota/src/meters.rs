//! A meter for each user, and a bound on their number: names come from clients. Meters that were
//! not used for a window are forgotten when room is needed, and where there is none left, new users
//! share one meter.

use std::collections::HashMap;
use std::hash::Hash;

#[derive(Debug)]
pub struct Meters<K, M> {
    meters: HashMap<K, Entry<M>>,
    meters_max: usize,
    shared: M,
    /// Looking for meters to forget costs: it is done once per window.
    sweep_at_ms: i64,
}

#[derive(Debug)]
struct Entry<M> {
    meter: M,
    used_ms: i64,
}

impl<K: Eq + Hash, M: Default> Meters<K, M> {
    pub fn new(meters_max: usize) -> Meters<K, M> {
        let (meters, shared) = (HashMap::new(), M::default());
        Meters { meters, meters_max, shared, sweep_at_ms: i64::MIN }
    }

    /// The meter of this user; one that is not used for `keep_ms` may begin anew.
    pub fn of(&mut self, user: K, now_ms: i64, keep_ms: i64) -> &mut M {
        let is_known = self.meters.contains_key(&user);
        if !is_known && self.meters.len() >= self.meters_max && now_ms >= self.sweep_at_ms {
            self.sweep_at_ms = now_ms.saturating_add(keep_ms);
            self.meters.retain(|_, entry| now_ms - entry.used_ms < keep_ms);
        }
        if !is_known && self.meters.len() >= self.meters_max {
            return &mut self.shared;
        }
        let len = self.meters.len() + usize::from(!is_known);
        debug_assert!(len <= self.meters_max, "{len} names of clients fill the memory");
        let new = || Entry { meter: M::default(), used_ms: now_ms };
        let entry = self.meters.entry(user).or_insert_with(new);
        entry.used_ms = entry.used_ms.max(now_ms);
        &mut entry.meter
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn meters_are_bounded_and_unused_ones_make_room() {
        let mut meters: Meters<u32, u32> = Meters::new(3);
        for user in 0..10 {
            *meters.of(user, 0, 100) += 1;
        }
        assert_eq!(meters.meters.len(), 3);
        assert_eq!(meters.shared, 7, "the others share one");
        *meters.of(0, 50, 100) += 1;
        assert_eq!(*meters.of(0, 50, 100), 2, "it has its own");
        *meters.of(11, 120, 100) += 1;
        assert_eq!(*meters.of(11, 120, 100), 1, "two were unused");
        assert_eq!(*meters.of(0, 120, 100), 2);
    }
}
