//! What ListOffsets calls "latest" never goes back: not within a leader epoch, and no answer of an
//! older epoch is above one of a newer epoch, whenever it is given (a leader that was cut off may
//! go on answering with its old one).

use std::collections::BTreeMap;

use base::{LeaderEpoch, Offset};

use super::{Check, Property, violated};
use crate::message::Tp;

#[derive(Default)]
pub struct ClientHighWatermark {
    /// First and last answer of each epoch.
    answers: BTreeMap<(Tp, LeaderEpoch), (Offset, Offset)>,
}

impl ClientHighWatermark {
    pub fn answered(&mut self, tp: Tp, epoch: LeaderEpoch, latest: Offset) -> Check {
        let older = self.answers.range((tp, i32::MIN)..(tp, epoch)).next_back();
        let newer = self.answers.range((tp, epoch + 1)..=(tp, i32::MAX)).next();
        let floor = older.map(|(_, &(_, last))| last);
        let ceiling = newer.map(|(_, &(first, _))| first);
        let own = self.answers.get(&(tp, epoch)).map(|&(_, last)| last);
        let too_low = floor.max(own).is_some_and(|floor| latest < floor);
        if too_low || ceiling.is_some_and(|ceiling| latest > ceiling) {
            return violated(
                Property::ClientHighWatermark,
                format!(
                    "partition {tp} epoch {epoch}: latest {latest}; before {own:?}, \
                     older epochs {floor:?}, newer epochs {ceiling:?}"
                ),
            );
        }
        self.answers.entry((tp, epoch)).or_insert((latest, latest)).1 = latest;
        Ok(())
    }
}
