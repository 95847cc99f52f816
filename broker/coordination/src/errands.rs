//! What shards have others do: who gave an errand, and who takes it.

use std::convert::Infallible;

use base::LeaderEpoch;
use coordinator::Shard;

use crate::mailbox::Mailbox;

/// The shard that gave an errand, and how to tell it of the outcome.
pub(crate) struct Giver<S: Shard> {
    /// In which it leads its partition.
    pub(crate) epoch: LeaderEpoch,
    pub(crate) mailbox: Mailbox<S>,
}

impl<S: Shard> Clone for Giver<S> {
    fn clone(&self) -> Giver<S> {
        Giver { epoch: self.epoch, mailbox: self.mailbox.clone() }
    }
}

/// Takes the errands of all shards of a coordinator.
pub(crate) trait Errands<S: Shard>: Send + Sync + 'static {
    /// Does not block.
    fn take(&self, from: Giver<S>, errand: S::Errand);
}

/// For shards that give none.
pub(crate) struct NoErrands;

impl<S: Shard<Errand = Infallible>> Errands<S> for NoErrands {
    fn take(&self, _: Giver<S>, errand: Infallible) {
        match errand {}
    }
}
