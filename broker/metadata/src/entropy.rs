//! Randomness as a value: ids and placement need it, and the caller decides where it comes from,
//! so that a seed replays a simulation.

use base::TopicId;

/// A small generator (SplitMix64, two lanes). Not for secrets: topic ids need to be unique only.
#[derive(Clone, Debug)]
pub struct Entropy {
    lanes: [u64; 2],
}

impl Entropy {
    /// In production 128 random bits; in a simulation the seed.
    pub fn from_seed(seed: u128) -> Entropy {
        Entropy { lanes: [seed as u64, (seed >> 64) as u64] }
    }

    pub fn next_u64(&mut self) -> u64 {
        self.next_lane(0) ^ self.next_lane(1).rotate_left(32)
    }

    /// A number below `bound`, which must not be 0.
    pub fn below(&mut self, bound: usize) -> usize {
        assert!(bound > 0, "a number below 0 does not exist");
        (self.next_u64() % bound as u64) as usize
    }

    /// A fresh topic id.
    pub fn next_topic_id(&mut self) -> TopicId {
        let (high, low) = (self.next_lane(0), self.next_lane(1));
        TopicId::from_random(u128::from(high) << 64 | u128::from(low))
    }

    fn next_lane(&mut self, lane: usize) -> u64 {
        let state = &mut self.lanes[lane];
        // Different increments: equal lanes must not stay equal.
        let step = [0x9E37_79B9_7F4A_7C15, 0xD1B5_4A32_D192_ED03][lane];
        *state = state.wrapping_add(step);
        let mut z = *state;
        z = (z ^ z >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ z >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ z >> 31
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_ids() {
        let (mut a, mut b) = (Entropy::from_seed(7), Entropy::from_seed(7));
        let ids: Vec<TopicId> = (0..100).map(|_| a.next_topic_id()).collect();
        assert!(ids.iter().all(|id| *id == b.next_topic_id()));
        let mut unique = ids.clone();
        unique.sort();
        unique.dedup();
        assert_eq!(unique.len(), ids.len());
    }
}
