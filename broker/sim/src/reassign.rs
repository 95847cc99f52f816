//! Whether and how often replicas move. Some seeds have none.

use crate::rng::Rng;

/// Sets this stream of chance apart from the world's, whose seeds keep their meaning.
const STREAM: u64 = 0x5EA5_519E;

pub(crate) struct Reassigning {
    pub(crate) rng: Rng,
    /// 0: never.
    pub(crate) every_ms: i64,
}

impl Reassigning {
    pub(crate) fn new(seed: u64) -> Reassigning {
        let mut rng = Rng::new(seed ^ STREAM);
        let every_ms = *rng.pick(&[0, 0, 300, 1_200]);
        Reassigning { rng, every_ms }
    }
}
