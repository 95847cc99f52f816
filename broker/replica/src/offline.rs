//! A replica whose log is torn: a cut failed half-way, and what the log says of itself counts for
//! nothing. It has no role until its driver has opened the log again from disk, and then begins as
//! after a start of its broker, from what the newest image says.
//!
//! Where the disk has lost more than the cut was to take, below the high watermark, it would be
//! elected for records that it lacks: it stays away until it is out of the ISR. (After a restart
//! the controller sees to that, by the broker epoch; of this it hears nothing.)

use crate::effect::Effect;
use crate::event::{Assignment, LogOffsets};
use crate::partition::{Partition, stable_offset};
use crate::torn::Offline;

impl Partition {
    /// Nothing is done by this replica, for want of a log.
    pub fn is_offline(&self) -> bool {
        self.offline.is_some()
    }

    pub(crate) fn log_torn(&mut self, effects: &mut Vec<Effect>) {
        if self.is_offline() {
            return;
        }
        let assignment = Assignment {
            leader: self.leader(),
            leader_epoch: self.leader_epoch,
            partition_epoch: self.partition_epoch,
            replicas: self.replicas.clone(),
            isr: self.isr.clone(),
        };
        self.resign(None, effects);
        self.offline = Some(Box::new(Offline { assignment, is_short: false }));
    }

    pub(crate) fn log_reopened(&mut self, now_ms: i64, log: LogOffsets, effects: &mut Vec<Effect>) {
        let Some(offline) = self.offline.as_mut() else { return };
        offline.is_short = log.end < self.high_watermark;
        self.log = log;
        let high_watermark = self.high_watermark.clamp(log.start, log.end);
        self.high_watermark = high_watermark;
        self.noted_readable = (high_watermark, stable_offset(log, high_watermark));
        effects.push(Effect::HighWatermark(high_watermark));
        self.come_back(now_ms, effects);
    }

    /// An image came while the replica is offline.
    pub(crate) fn assigned_offline(
        &mut self,
        now_ms: i64,
        new: Assignment,
        effects: &mut Vec<Effect>,
    ) {
        let Some(offline) = self.offline.as_mut() else { return };
        if new.partition_epoch > offline.assignment.partition_epoch {
            offline.assignment = new;
        }
        if offline.is_short {
            self.come_back(now_ms, effects);
        }
    }

    fn come_back(&mut self, now_ms: i64, effects: &mut Vec<Effect>) {
        let id = self.id;
        let may_be_elected = |o: &Offline| o.is_short && o.assignment.isr.contains(&id);
        let Some(offline) = self.offline.take_if(|offline| !may_be_elected(offline)) else {
            return;
        };
        // Nothing of before, so that the same image counts again.
        self.leader_epoch = -1;
        self.partition_epoch = -1;
        self.isr.clear();
        self.assign(now_ms, offline.assignment, effects);
    }
}
