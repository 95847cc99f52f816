//! The uniform assignor. Members keep what they have as far as their share goes; the rest goes to
//! those with the least. With one subscription for all, shares differ by one at most. With several,
//! no single partition could go to a member that has two less.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

use super::GroupSpec;
use crate::consumer::value::Partitions;

/// Passes over all topics while partitions still move.
const PASSES_MAX: usize = 16;

/// Owner of partitions that have none.
const NOBODY: u32 = u32::MAX;

pub(super) fn assign(group: &GroupSpec) -> Vec<Partitions> {
    let mut table = Table::new(group);
    table.keep_targets();
    if group.is_homogeneous() {
        table.share_evenly();
    } else {
        let subscribers = group.subscribers();
        table.give_to_least(&subscribers);
        table.balance(&subscribers);
    }
    table.into_partitions()
}

/// Who owns which partition; partitions of all topics are in one row, topic after topic.
struct Table<'a> {
    group: &'a GroupSpec,
    /// Where each topic's partitions begin.
    starts: Vec<usize>,
    owners: Vec<u32>,
    counts: Vec<u32>,
}

impl Table<'_> {
    fn new(group: &GroupSpec) -> Table<'_> {
        let mut starts = Vec::with_capacity(group.topics.len());
        let mut end = 0;
        for (_, partitions) in &group.topics {
            starts.push(end);
            end += *partitions as usize;
        }
        let counts = vec![0; group.members.len()];
        Table { group, starts, owners: vec![NOBODY; end], counts }
    }

    fn range(&self, topic: usize) -> std::ops::Range<usize> {
        let start = self.starts[topic];
        start..start + self.group.topics[topic].1 as usize
    }

    fn give(&mut self, at: usize, member: u32) {
        let old = std::mem::replace(&mut self.owners[at], member);
        if old != NOBODY {
            self.counts[old as usize] -= 1;
        }
        self.counts[member as usize] += 1;
    }

    /// What a member has and still subscribes to, it has first.
    fn keep_targets(&mut self) {
        let topics = self.group.index_of_topics();
        for (m, member) in (0_u32..).zip(&self.group.members) {
            for (id, partitions) in member.target.iter().flat_map(|target| target.iter()) {
                let Some(topic) = topics.get(id) else { continue };
                if member.topics.binary_search(topic).is_err() {
                    continue;
                }
                let range = self.range(*topic as usize);
                for p in partitions.iter().filter_map(|p| usize::try_from(*p).ok()) {
                    let at = range.start + p;
                    if at < range.end && self.owners[at] == NOBODY {
                        self.give(at, m);
                    }
                }
            }
        }
    }

    fn share_evenly(&mut self) {
        let members = self.group.members.len();
        if members == 0 {
            return;
        }
        let least = (self.owners.len() / members) as u32;
        let mut with_more = (self.owners.len() % members) as u32;
        // Those who have more than the least keep one more, as many as may.
        let mut shares = vec![least; members];
        for (share, count) in shares.iter_mut().zip(&self.counts) {
            if *count > least && with_more > 0 {
                *share += 1;
                with_more -= 1;
            }
        }
        for at in (0..self.owners.len()).rev() {
            let owner = self.owners[at];
            if owner != NOBODY && self.counts[owner as usize] > shares[owner as usize] {
                self.counts[owner as usize] -= 1;
                self.owners[at] = NOBODY;
            }
        }
        for share in shares.iter_mut().filter(|share| **share == least) {
            if with_more > 0 {
                *share += 1;
                with_more -= 1;
            }
        }
        let short = |table: &Self, m: u32| table.counts[m as usize] < shares[m as usize];
        let mut open: VecDeque<u32> = (0..members as u32).filter(|m| short(self, *m)).collect();
        for at in 0..self.owners.len() {
            if self.owners[at] != NOBODY {
                continue;
            }
            let Some(member) = open.pop_front() else { return };
            self.give(at, member);
            if short(self, member) {
                open.push_back(member);
            }
        }
    }

    /// Topics with few subscribers first: theirs have the least choice.
    fn give_to_least(&mut self, subscribers: &[Vec<u32>]) {
        let mut topics: Vec<usize> = (0..self.group.topics.len()).collect();
        topics.sort_by_key(|t| subscribers[*t].len());
        for topic in topics {
            let of_topic = subscribers[topic].iter();
            let mut least: BinaryHeap<Reverse<(u32, u32)>> =
                of_topic.map(|m| Reverse((self.counts[*m as usize], *m))).collect();
            for at in self.range(topic) {
                if self.owners[at] != NOBODY {
                    continue;
                }
                let Some(Reverse((count, member))) = least.pop() else { break };
                self.give(at, member);
                least.push(Reverse((count + 1, member)));
            }
        }
    }

    fn balance(&mut self, subscribers: &[Vec<u32>]) {
        for _ in 0..PASSES_MAX {
            let mut has_moved = false;
            for (topic, of_topic) in subscribers.iter().enumerate() {
                has_moved |= self.balance_topic(topic, of_topic);
            }
            if !has_moved {
                return;
            }
        }
    }

    /// Moves partitions of one topic from who has the most to who has the least.
    fn balance_topic(&mut self, topic: usize, subscribers: &[u32]) -> bool {
        if subscribers.len() < 2 {
            return false;
        }
        let mut owned: Vec<Vec<usize>> = vec![Vec::new(); self.group.members.len()];
        for at in self.range(topic) {
            if self.owners[at] != NOBODY {
                owned[self.owners[at] as usize].push(at);
            }
        }
        let mut most: BinaryHeap<(u32, Reverse<u32>)> = subscribers
            .iter()
            .filter(|m| !owned[**m as usize].is_empty())
            .map(|m| (self.counts[*m as usize], Reverse(*m)))
            .collect();
        let mut least: BinaryHeap<Reverse<(u32, u32)>> =
            subscribers.iter().map(|m| Reverse((self.counts[*m as usize], *m))).collect();
        let mut has_moved = false;
        while let (Some(&(high, Reverse(from))), Some(&Reverse((low, to)))) =
            (most.peek(), least.peek())
        {
            // Entries of members whose count has changed since are of no use.
            if high != self.counts[from as usize] || owned[from as usize].is_empty() {
                most.pop();
                continue;
            }
            if low != self.counts[to as usize] {
                least.pop();
                continue;
            }
            if high < low + 2 {
                break;
            }
            let Some(at) = owned[from as usize].pop() else { break };
            self.give(at, to);
            owned[to as usize].push(at);
            has_moved = true;
            for member in [from, to] {
                let count = self.counts[member as usize];
                most.push((count, Reverse(member)));
                least.push(Reverse((count, member)));
            }
        }
        has_moved
    }

    fn into_partitions(self) -> Vec<Partitions> {
        let mut assigned = vec![Partitions::new(); self.group.members.len()];
        for (topic, (id, _)) in self.group.topics.iter().enumerate() {
            for (p, at) in (0_i32..).zip(self.range(topic)) {
                if self.owners[at] != NOBODY {
                    assigned[self.owners[at] as usize].entry(*id).or_default().insert(p);
                }
            }
        }
        assigned
    }
}
