//! One leader per leader epoch: not even the same broker, restarted, may lead an epoch again, as
//! its log may have lost the epoch's end. Epochs of a process only grow.

use std::collections::BTreeMap;

use base::LeaderEpoch;

use super::{Check, Property, violated};
use crate::message::Tp;

/// A process of a broker.
type Process = (usize, u64);

#[derive(Default)]
pub struct LeaderEpochs {
    leaders: BTreeMap<(Tp, LeaderEpoch), Process>,
    last: BTreeMap<(Tp, Process), LeaderEpoch>,
}

impl LeaderEpochs {
    pub fn leads(&mut self, tp: Tp, epoch: LeaderEpoch, who: Process) -> Check {
        let leader = *self.leaders.entry((tp, epoch)).or_insert(who);
        if leader != who {
            return violated(
                Property::LeaderEpoch,
                format!("partition {tp} epoch {epoch}: led by {leader:?} and by {who:?}"),
            );
        }
        self.knows(tp, epoch, who)
    }

    /// The process applied an assignment of this epoch.
    pub fn knows(&mut self, tp: Tp, epoch: LeaderEpoch, who: Process) -> Check {
        let last = self.last.entry((tp, who)).or_insert(epoch);
        if epoch < *last {
            return violated(
                Property::LeaderEpoch,
                format!("partition {tp} at {who:?}: epoch {epoch} after {last}"),
            );
        }
        *last = epoch;
        Ok(())
    }
}
