//! A rate over a window of samples, as Kafka's `Rate`: the newest sample grows, whole ones are kept
//! until the window is over them, and a window that is not full yet counts as if it were.

use std::collections::VecDeque;

use crate::Window;

#[derive(Clone, Copy, PartialEq, Debug)]
struct Sample {
    start_ms: i64,
    last_ms: i64,
    sum: f64,
}

/// What one user did lately.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Rate {
    /// Oldest first; as many as the window has, at most.
    samples: VecDeque<Sample>,
}

impl Rate {
    /// So much was used.
    pub fn record(&mut self, window: Window, now_ms: i64, amount: f64) {
        self.forget(window, now_ms);
        match self.samples.back_mut() {
            Some(newest) if now_ms - newest.start_ms < window.sample_ms() => {
                newest.last_ms = newest.last_ms.max(now_ms);
                newest.sum += amount;
            }
            _ => {
                if self.samples.len() >= window.samples {
                    self.samples.pop_front();
                }
                self.samples.push_back(Sample { start_ms: now_ms, last_ms: now_ms, sum: amount });
            }
        }
        let starts = self.samples.iter().map(|sample| sample.start_ms);
        debug_assert!(starts.is_sorted(), "a sample begins before an older one: {self:?}");
    }

    /// Per second.
    pub fn per_second(&mut self, window: Window, now_ms: i64) -> f64 {
        self.forget(window, now_ms);
        let sum: f64 = self.samples.iter().map(|sample| sample.sum).sum();
        sum * 1_000.0 / self.window_ms(window, now_ms)
    }

    /// How long nothing more should be used until the rate is at the limit again; 0 within it.
    pub fn throttle_ms(&mut self, window: Window, now_ms: i64, limit: f64) -> i64 {
        let rate = self.per_second(window, now_ms);
        if rate <= limit {
            return 0;
        }
        let wait_ms = (rate - limit) / limit * self.window_ms(window, now_ms);
        // A limit of next to nothing makes it as good as for ever.
        wait_ms.round().clamp(1.0, f64::from(i32::MAX)) as i64
    }

    fn forget(&mut self, window: Window, now_ms: i64) {
        let is_old = |sample: &Sample| now_ms - sample.last_ms >= window.whole_ms();
        while self.samples.front().is_some_and(is_old) {
            self.samples.pop_front();
        }
    }

    /// The time that the samples stand for.
    fn window_ms(&self, window: Window, now_ms: i64) -> f64 {
        let oldest = self.samples.front().map_or(now_ms, |sample| sample.start_ms);
        let elapsed = (now_ms - oldest).max(0);
        let (full, wanted) = (elapsed / window.sample_ms(), window.samples as i64 - 1);
        let missing = (wanted - full).max(0).saturating_mul(window.sample_ms());
        match elapsed.saturating_add(missing) {
            0 => window.sample_ms() as f64,
            length => length as f64,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const KAFKA: (usize, i64) = (11, 1);

    fn window() -> Window {
        Window::new(KAFKA.0, KAFKA.1)
    }

    #[test]
    fn a_rate_is_that_of_kafka() {
        let (mut rate, window) = (Rate::default(), window());
        rate.record(window, 0, 5_000.0);
        assert_eq!(rate.per_second(window, 0), 500.0, "ten seconds that were not");
        assert_eq!(rate.throttle_ms(window, 0, 500.0), 0);
        assert_eq!(rate.throttle_ms(window, 0, 250.0), 10_000);
        assert_eq!(rate.per_second(window, 10_500), 5_000_000.0 / 10_500.0);
        assert_eq!(rate.per_second(window, 11_000), 0.0, "forgotten");
    }

    #[test]
    #[should_panic(expected = "begins before an older one")]
    fn samples_out_of_order_are_seen() {
        let (mut rate, window) = (Rate::default(), window());
        rate.record(window, 0, 1.0);
        rate.record(window, 2_000, 1.0);
        rate.samples.swap(0, 1);
        rate.record(window, 2_100, 1.0);
    }

    /// Uses so much, waits as told and for a pause, again and again. Returns what it used beyond
    /// what may be used at once, and the time that it took.
    fn obey(limit: f64, uses: &[(f64, u16)]) -> (f64, f64) {
        let (mut rate, window) = (Rate::default(), window());
        let (mut now, mut used, mut largest) = (0i64, 0.0, 0.0f64);
        for &(amount, pause) in uses {
            rate.record(window, now, amount);
            (used, largest) = (used + amount, largest.max(amount));
            let wait = rate.throttle_ms(window, now, limit);
            assert!(rate.samples.len() <= KAFKA.0);
            assert_eq!(rate.per_second(window, now) > limit, wait > 0);
            let whole = now + window.whole_ms();
            assert_eq!(rate.clone().per_second(window, whole), 0.0, "for ever");
            now += wait + i64::from(pause);
        }
        let at_once = limit * window.whole_ms() as f64 / 1_000.0 + largest;
        (used - at_once, now as f64 / 1_000.0)
    }

    proptest! {
        #[test]
        fn who_waits_as_told_keeps_the_limit(
            limit in 100u32..10_000_000,
            parts in prop::collection::vec((0.0f64..1.0, 0u16..300), 50..300),
        ) {
            let limit = f64::from(limit);
            let uses: Vec<_> = parts.iter().map(|&(part, pause)| (part * limit, pause)).collect();
            let (used, seconds) = obey(limit, &uses);
            prop_assert!(used <= limit * seconds, "{used} in {seconds} s");
        }

        /// As in Kafka, a window that is over is forgotten, with what was used beyond it: a user of
        /// many seconds at once gets its first window again.
        #[test]
        fn who_uses_much_at_once_stays_within_twice_the_limit(
            limit in 100u32..10_000_000,
            parts in prop::collection::vec((0.0f64..40.0, 0u16..300), 50..300),
        ) {
            let limit = f64::from(limit);
            let uses: Vec<_> = parts.iter().map(|&(part, pause)| (part * limit, pause)).collect();
            let (used, seconds) = obey(limit, &uses);
            prop_assert!(used <= 2.0 * limit * seconds, "{used} in {seconds} s");
        }

        #[test]
        fn who_stays_within_the_limit_never_waits(limit in 10u32..1_000_000, count in 1usize..400) {
            let (mut rate, window) = (Rate::default(), window());
            for n in 0..count {
                let now = n as i64 * 100;
                rate.record(window, now, f64::from(limit) / 11.0);
                prop_assert_eq!(rate.throttle_ms(window, now, f64::from(limit)), 0);
            }
        }
    }
}
