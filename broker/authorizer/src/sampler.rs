//! Which denials are told: the first ones of each second. A client that is refused ten thousand
//! times a second must not fill the disk with it.

/// Counts what it holds back, so that the next line can say it.
#[derive(Clone, Debug)]
pub struct Sampler {
    per_second_max: u32,
    second: i64,
    told: u32,
    held_back: u64,
}

impl Sampler {
    pub const fn new(per_second_max: u32) -> Sampler {
        Sampler { per_second_max, second: i64::MIN, told: 0, held_back: 0 }
    }

    /// Whether to tell of what happened now, and of how many before it nobody was told.
    pub fn take(&mut self, now_ms: i64) -> Option<u64> {
        let second = now_ms.div_euclid(1000);
        if second != self.second {
            (self.second, self.told) = (second, 0);
        }
        if self.told >= self.per_second_max {
            self.held_back += 1;
            return None;
        }
        self.told += 1;
        Some(std::mem::take(&mut self.held_back))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_counted_and_not_told() {
        let mut sampler = Sampler::new(2);
        let told: Vec<_> = (0..5).map(|_| sampler.take(1_999)).collect();
        assert_eq!(told, [Some(0), Some(0), None, None, None]);
        assert_eq!(sampler.take(2_000), Some(3));
        assert_eq!(sampler.take(2_001), Some(0));
        assert_eq!(sampler.take(2_002), None);
    }
}
