//! The range assignor. Members are in the order of their instance ids, before those that have
//! none, which are in the order of their ids: a restarted static member gets its range again.

use super::{GroupSpec, MemberSpec};
use crate::consumer::value::Partitions;

pub(super) fn assign(group: &GroupSpec) -> Vec<Partitions> {
    let mut assigned = vec![Partitions::new(); group.members.len()];
    for ((id, partitions), mut members) in group.topics.iter().zip(group.subscribers()) {
        members.sort_by_key(|m| order(&group.members[*m as usize]));
        let count = members.len() as u32;
        if count == 0 {
            continue;
        }
        let (least, with_more) = (partitions / count, partitions % count);
        let mut next = 0;
        for (at, member) in (0..count).zip(members) {
            let end = next + least + u32::from(at < with_more);
            let range = (next..end).filter_map(|p| i32::try_from(p).ok());
            if next < end {
                assigned[member as usize].insert(*id, range.collect());
            }
            next = end;
        }
    }
    assigned
}

fn order(member: &MemberSpec) -> (bool, &str) {
    match &member.instance_id {
        Some(instance) => (false, instance),
        None => (true, &member.id),
    }
}
