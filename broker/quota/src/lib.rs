//! How much somebody used lately, and how long to wait where that is too much: Kafka's windowed
//! rates, its token bucket for changes of metadata, and a bounded table of either. Pure values: the
//! time is passed in, in milliseconds of a clock that never goes back.

mod bucket;
mod meters;
mod rate;

pub use bucket::Bucket;
pub use meters::Meters;
pub use rate::Rate;

/// `quota.window.num` samples of `quota.window.size.seconds` each.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Window {
    samples: usize,
    sample_ms: i64,
}

impl Window {
    /// At least one sample, of at least a second.
    pub fn new(samples: usize, sample_seconds: i64) -> Window {
        let sample_ms = sample_seconds.max(1).saturating_mul(1_000);
        Window { samples: samples.max(1), sample_ms }
    }

    /// The length of one sample.
    pub fn sample_ms(self) -> i64 {
        self.sample_ms
    }

    /// The length of all.
    pub fn whole_ms(self) -> i64 {
        let samples = i64::try_from(self.samples).unwrap_or(i64::MAX);
        self.sample_ms.saturating_mul(samples)
    }

    /// What may be used at once by somebody with this limit who used nothing lately. Kafka lets a
    /// fetch have no more.
    pub fn burst(self, limit: f64) -> f64 {
        limit * (self.whole_ms() - self.sample_ms).max(self.sample_ms) as f64 / 1_000.0
    }
}
