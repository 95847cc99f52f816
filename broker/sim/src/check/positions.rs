//! The order of the positions of one replica, as the log and the core see them: log start <= last
//! stable offset <= high watermark <= log end, recovery point <= log end, and both views agree.

use commitlog::Log;
use replica::Partition;

use super::{Check, Property, violated};

pub fn positions(core: &Partition, log: &Log) -> Check {
    let seen = core.log();
    let (start, end, recovery) = (log.start_offset(), log.end_offset(), log.recovery_point());
    let (stable, high) = (core.last_stable_offset(), core.high_watermark());
    let ordered = start <= stable && stable <= high && high <= end && recovery <= end;
    if ordered && seen.start == start && seen.end == end {
        return Ok(());
    }
    violated(
        Property::Positions,
        format!(
            "log {start}..{end}, recovery point {recovery}, stable {stable}, \
             high watermark {high}, core {seen:?}"
        ),
    )
}
