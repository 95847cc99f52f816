//! A stand-in for the crate of the same name, which openraft counts its statistics with. The
//! original fills tables of 52 MiB at the first histogram, more than the rest of a broker takes;
//! nobody reads those statistics here. This one counts by powers of two and has what openraft
//! calls, nothing else. It goes when the original no longer fills its tables.

use std::fmt;
use std::marker::PhantomData;

const BUCKETS: usize = u64::BITS as usize + 1;

/// Counts of values by their number of significant bits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Histogram<T = ()> {
    counts: Box<[u64; BUCKETS]>,
    slot: PhantomData<T>,
}

impl<T> Histogram<T> {
    pub fn new() -> Histogram<T> {
        Histogram { counts: Box::new([0; BUCKETS]), slot: PhantomData }
    }

    pub fn record(&mut self, value: u64) {
        self.record_n(value, 1);
    }

    pub fn record_n(&mut self, value: u64, count: u64) {
        let bucket = (u64::BITS - value.leading_zeros()) as usize;
        self.counts[bucket] = self.counts[bucket].saturating_add(count);
    }

    pub fn total(&self) -> u64 {
        self.counts.iter().fold(0, |sum, count| sum.saturating_add(*count))
    }

    /// A lower bound of the value that the fraction `p` of all values does not exceed, exact
    /// within a factor of two; 0 of nothing.
    pub fn percentile(&self, p: f64) -> u64 {
        let wanted = ((self.total() as f64 * p).ceil() as u64).max(1);
        let mut seen = 0u64;
        for (bucket, count) in self.counts.iter().enumerate() {
            seen = seen.saturating_add(*count);
            if seen >= wanted {
                return if bucket == 0 { 0 } else { 1 << (bucket - 1) };
            }
        }
        0
    }

    pub fn percentile_stats(&self) -> PercentileStats {
        PercentileStats {
            samples: self.total(),
            p0_1: self.percentile(0.001),
            p1: self.percentile(0.01),
            p5: self.percentile(0.05),
            p10: self.percentile(0.1),
            p50: self.percentile(0.5),
            p90: self.percentile(0.9),
            p99: self.percentile(0.99),
            p99_9: self.percentile(0.999),
        }
    }
}

impl<T> Default for Histogram<T> {
    fn default() -> Histogram<T> {
        Histogram::new()
    }
}

/// Some percentiles of a histogram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PercentileStats {
    pub samples: u64,
    pub p0_1: u64,
    pub p1: u64,
    pub p5: u64,
    pub p10: u64,
    pub p50: u64,
    pub p90: u64,
    pub p99: u64,
    pub p99_9: u64,
}

impl fmt::Display for PercentileStats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{} samples, P50 {}, P99 {}]", self.samples, self.p50, self.p99)
    }
}

/// Named histograms for people, one line each.
#[derive(Clone, Debug, Default)]
pub struct AsciiChart<T = ()> {
    series: Vec<(String, Histogram<T>)>,
}

impl<T> AsciiChart<T> {
    pub fn new() -> AsciiChart<T> {
        AsciiChart { series: Vec::new() }
    }

    #[must_use]
    #[allow(clippy::should_implement_trait)] // the name is the original's
    pub fn add(mut self, name: impl Into<String>, histogram: Histogram<T>) -> AsciiChart<T> {
        self.series.push((name.into(), histogram));
        self
    }
}

impl<T> fmt::Display for AsciiChart<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, histogram) in &self.series {
            writeln!(f, "{name}: {}", histogram.percentile_stats())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_within_a_factor_of_two() {
        let mut histogram = Histogram::<()>::new();
        assert_eq!(histogram.percentile(0.99), 0);
        (0..=1000).for_each(|value| histogram.record(value));
        let stats = histogram.percentile_stats();
        assert_eq!(stats.samples, 1001);
        assert_eq!((stats.p50, stats.p99), (256, 512));
        histogram.record_n(u64::MAX, 5000);
        assert_eq!(histogram.percentile(0.5), 1 << 63);
    }
}
