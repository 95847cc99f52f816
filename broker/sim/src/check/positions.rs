//! The order of the positions of one replica, as the log and the core see them: log start <= last
//! stable offset <= high watermark <= log end, recovery point <= log end, and both views agree.

use std::ops::Range;

use base::Offset;
use commitlog::Log;
use replica::{LogOffsets, Partition};

use super::{Check, Property, violated};

#[derive(Debug)]
pub struct Positions {
    start: Offset,
    end: Offset,
    pub recovery: Offset,
    stable: Offset,
    pub high: Offset,
    core: LogOffsets,
    /// Nobody knows where a torn log ends.
    is_torn: bool,
}

impl Positions {
    pub fn of(core: &Partition, log: &Log) -> Positions {
        Positions {
            start: log.start_offset(),
            end: log.end_offset(),
            recovery: log.recovery_point(),
            stable: core.last_stable_offset(),
            high: core.high_watermark(),
            core: core.log(),
            is_torn: log.is_torn(),
        }
    }

    pub fn log(&self) -> Range<Offset> {
        self.start..self.end
    }

    pub fn check(&self) -> Check {
        let Positions { start, end, recovery, stable, high, core, .. } = self;
        let ordered = start <= stable && stable <= high && high <= end && recovery <= end;
        if self.is_torn || ordered && core.start == *start && core.end == *end {
            return Ok(());
        }
        violated(Property::Positions, format!("{self:?}"))
    }
}
