//! Kafka's token bucket for changes of metadata (KIP-599): it fills at the limit up to what a whole
//! window may use, and one request may take more than is there. Then nothing goes until the debt
//! has passed.

use crate::Window;

const TINY: f64 = 1e-6;

/// The tokens of one user.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct Bucket {
    /// Nobody took any before: it is full.
    state: Option<State>,
}

#[derive(Clone, Copy, PartialEq, Debug)]
struct State {
    tokens: f64,
    at_ms: i64,
}

impl Bucket {
    fn fill(&mut self, window: Window, now_ms: i64, limit: f64) -> &mut State {
        let most = limit * window.whole_ms() as f64 / 1_000.0;
        let state = self.state.get_or_insert(State { tokens: most, at_ms: now_ms });
        let elapsed = (now_ms - state.at_ms).max(0) as f64 / 1_000.0;
        state.tokens = (state.tokens + elapsed * limit).min(most);
        state.at_ms = state.at_ms.max(now_ms);
        debug_assert!(state.tokens <= most, "a bucket runs over: {state:?}");
        state
    }

    /// Takes tokens, whether they are there or not.
    pub fn take(&mut self, window: Window, now_ms: i64, limit: f64, tokens: f64) {
        self.fill(window, now_ms, limit).tokens -= tokens;
    }

    /// How long until there is no debt; 0 without one.
    pub fn wait_ms(&mut self, window: Window, now_ms: i64, limit: f64) -> i64 {
        let owed = -self.fill(window, now_ms, limit).tokens;
        // Sums of fractions are not exact: a debt of nothing is none.
        if owed <= TINY {
            return 0;
        }
        (owed / limit * 1_000.0).ceil().clamp(1.0, f64::from(i32::MAX)) as i64
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn window() -> Window {
        Window::new(11, 1)
    }

    #[test]
    fn a_full_bucket_may_be_overdrawn_once() {
        let (mut bucket, window) = (Bucket::default(), window());
        assert_eq!(bucket.wait_ms(window, 0, 2.0), 0);
        bucket.take(window, 0, 2.0, 32.0);
        assert_eq!(bucket.wait_ms(window, 0, 2.0), 5_000, "22 of 32 were there");
        assert_eq!(bucket.wait_ms(window, 4_000, 2.0), 1_000);
        assert_eq!(bucket.wait_ms(window, 5_000, 2.0), 0);
    }

    #[test]
    #[should_panic(expected = "a bucket runs over")]
    fn a_bucket_that_holds_no_number_is_seen() {
        let mut bucket = Bucket { state: Some(State { tokens: 0.0, at_ms: 0 }) };
        bucket.take(window(), 1, f64::NAN, 1.0);
    }

    proptest! {
        /// Whoever takes only without a debt gets the limit, but for a full bucket and one request.
        #[test]
        fn who_takes_without_a_debt_keeps_the_limit(
            limit in 1u16..1_000,
            takes in prop::collection::vec((1u16..500, 0u16..2_000), 1..200),
        ) {
            let (mut bucket, window) = (Bucket::default(), window());
            let (limit, mut now, mut taken, mut largest) = (f64::from(limit), 0i64, 0.0, 0.0f64);
            for (tokens, pause) in takes {
                now += bucket.wait_ms(window, now, limit);
                prop_assert_eq!(bucket.wait_ms(window, now, limit), 0, "the wait is over");
                let tokens = f64::from(tokens);
                bucket.take(window, now, limit, tokens);
                taken += tokens;
                largest = largest.max(tokens);
                now += i64::from(pause);
            }
            let full = limit * 11.0;
            prop_assert!(taken <= limit * now as f64 / 1_000.0 + full + largest + 1e-3);
        }
    }
}
