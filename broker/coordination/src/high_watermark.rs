//! Waiting for the high watermark of a shard's partition to rise, in the epoch of the shard.

use std::future::poll_fn;
use std::sync::Arc;

use base::{LeaderEpoch, Offset};

use storage::partition::{FetchWait, Partition};

/// A subscription to one partition's high watermark, armed only while somebody waits for it.
pub(super) struct HighWatermark {
    partition: Arc<Partition>,
    epoch: LeaderEpoch,
    wait: Arc<FetchWait>,
    is_armed: bool,
}

impl HighWatermark {
    pub(super) fn new(partition: Arc<Partition>, epoch: LeaderEpoch) -> HighWatermark {
        HighWatermark { partition, epoch, wait: FetchWait::new(), is_armed: false }
    }

    /// Where it stands; `None` once this broker does not lead in that epoch any more.
    pub(super) fn get(&self) -> Option<Offset> {
        self.partition.committed_in(self.epoch)
    }

    /// Asks to be told of the next rise. Look at [`HighWatermark::get`] afterwards: a rise before
    /// this call is not told of.
    pub(super) fn arm(&mut self) {
        if !self.is_armed {
            self.partition.register(false, &self.wait, 0);
            self.is_armed = true;
        }
    }

    /// The rise that was asked for; never, if none was.
    pub(super) async fn risen(&mut self) {
        if !self.is_armed {
            std::future::pending::<()>().await;
        }
        let mut news = Vec::new();
        poll_fn(|cx| self.wait.poll(cx, &mut news)).await;
        self.is_armed = false;
    }

    /// Waits until everything below `offset` is committed.
    pub(super) async fn reaches(&mut self, offset: Offset) {
        loop {
            self.arm();
            if self.get().is_some_and(|reached| reached >= offset) {
                return;
            }
            self.risen().await;
        }
    }
}

impl Drop for HighWatermark {
    fn drop(&mut self) {
        self.wait.finish();
    }
}
