//! Whether and how often disks misbehave, and what a slow one has in front of it.

use crate::rng::Rng;

/// Sets this stream of chance apart from the world's.
const STREAM: u64 = 0xD15C_FA17;

pub(crate) struct DiskFaults {
    pub(crate) rng: Rng,
    /// 0: never.
    pub(crate) every_ms: i64,
}

impl DiskFaults {
    pub(crate) fn new(seed: u64) -> DiskFaults {
        let mut rng = Rng::new(seed ^ STREAM);
        let every_ms = *rng.pick(&[0, 500, 1_500]);
        DiskFaults { rng, every_ms }
    }
}

/// A disk on which everything takes its time, in order. Never beyond the end of its slowness.
#[derive(Default)]
pub(crate) struct Slowness {
    pub(crate) until_ms: i64,
    pub(crate) longest_ms: i64,
    /// When the last one of what waits is served.
    busy_until_ms: i64,
}

impl Slowness {
    /// How long the next one waits; `None` if it need not queue at all.
    pub(crate) fn wait_ms(&mut self, now_ms: i64, rng: &mut Rng) -> Option<i64> {
        if now_ms >= self.until_ms && now_ms > self.busy_until_ms {
            return None;
        }
        let served = (now_ms + rng.between(0, self.longest_ms)).min(self.until_ms).max(now_ms);
        self.busy_until_ms = self.busy_until_ms.max(served);
        Some(self.busy_until_ms - now_ms)
    }
}
