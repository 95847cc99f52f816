//! A rate of bytes, as a pure value: time is passed in. Bytes are spent after they went through, so
//! that a transfer larger than what is left makes a debt, which passes with time; on the whole no
//! more goes through than the rate allows.

/// What may be saved up while nothing goes through, in milliseconds of the rate.
const SAVED_MS: i128 = 500;
/// Longest debt that a change of the rate leaves, in milliseconds of the new rate.
const DEBT_MS: i128 = 1_000;
/// Bytes are counted in thousandths, so that a rate per second adds up over milliseconds.
const UNIT: i128 = 1_000;

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Throttle {
    /// Bytes per second; `None`: everything goes through.
    rate: Option<u64>,
    /// Thousandths of a byte that are left, or owed.
    balance: i128,
    counted_to_ms: i64,
}

impl Throttle {
    /// A new rate begins with nothing saved up.
    pub fn set_rate(&mut self, rate: Option<u64>, now_ms: i64) {
        if rate == self.rate {
            return;
        }
        self.advance(now_ms);
        let debt = rate.map_or(0, |rate| -i128::from(rate) * DEBT_MS);
        self.balance = self.balance.clamp(debt, 0);
        self.rate = rate;
        self.counted_to_ms = now_ms;
    }

    fn advance(&mut self, now_ms: i64) {
        let Some(rate) = self.rate.map(i128::from) else { return };
        let elapsed = i128::from((now_ms - self.counted_to_ms).max(0));
        self.counted_to_ms = self.counted_to_ms.max(now_ms);
        self.balance = (self.balance + rate * elapsed).min(rate * SAVED_MS);
    }

    /// Bytes went through.
    pub fn spend(&mut self, bytes: usize, now_ms: i64) {
        if self.rate.is_some() {
            self.advance(now_ms);
            self.balance -= bytes as i128 * UNIT;
        }
    }

    /// Bytes that may go through now.
    pub fn room(&mut self, now_ms: i64) -> usize {
        if self.rate.is_none() {
            return usize::MAX;
        }
        self.advance(now_ms);
        usize::try_from((self.balance / UNIT).max(0)).unwrap_or(usize::MAX)
    }

    /// How long nothing may go through; `None`: something may now.
    pub fn wait_ms(&mut self, now_ms: i64) -> Option<i64> {
        if self.room(now_ms) > 0 {
            return None;
        }
        let rate = i128::from(self.rate.unwrap_or(0));
        let missing = UNIT - self.balance;
        let wait = (missing + rate - 1).checked_div(rate);
        Some(wait.and_then(|ms| i64::try_from(ms).ok()).unwrap_or(i64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sends pieces whenever something may go through; how long `total` took.
    fn send(throttle: &mut Throttle, total: usize, piece: usize, mut now_ms: i64) -> i64 {
        let (start, mut sent) = (now_ms, 0);
        while sent < total {
            match throttle.wait_ms(now_ms) {
                Some(wait) => now_ms += wait,
                None => {
                    throttle.spend(piece, now_ms);
                    sent += piece;
                }
            }
        }
        now_ms - start
    }

    #[test]
    fn what_goes_through_takes_its_time() {
        for piece in [100, 10_000, 1_000_000] {
            let mut throttle = Throttle::default();
            throttle.set_rate(Some(100_000), 1_000_000);
            let took = send(&mut throttle, 1_000_000, piece, 1_000_000);
            // The last piece may go through on credit.
            let least = 10_000 - (piece as i64 / 100);
            assert!((least..=10_100).contains(&took), "{piece}: {took} ms");
        }
    }

    #[test]
    fn little_is_saved_up() {
        let mut throttle = Throttle::default();
        throttle.set_rate(Some(1_000), 0);
        assert_eq!(throttle.room(3_600_000), 500);
        throttle.spend(700, 3_600_000);
        assert_eq!(throttle.wait_ms(3_600_000), Some(201));
        assert_eq!(throttle.wait_ms(3_600_201), None);
    }

    #[test]
    fn without_a_rate_everything_goes_through_and_a_rate_of_zero_stops_it() {
        let mut throttle = Throttle::default();
        throttle.spend(usize::MAX, 5);
        assert_eq!((throttle.room(5), throttle.wait_ms(5)), (usize::MAX, None));
        throttle.set_rate(Some(0), 5);
        assert_eq!((throttle.room(99_999), throttle.wait_ms(99_999)), (0, Some(i64::MAX)));
        throttle.set_rate(None, 99_999);
        assert_eq!(throttle.wait_ms(99_999), None);
    }

    #[test]
    fn a_higher_rate_does_not_wait_for_the_debt_of_the_lower_one() {
        let mut throttle = Throttle::default();
        throttle.set_rate(Some(10), 0);
        throttle.spend(1_000_000, 0);
        assert!(throttle.wait_ms(0) > Some(99_000_000));
        throttle.set_rate(Some(100_000), 0);
        assert_eq!(throttle.wait_ms(0), Some(1_001));
        assert_eq!(throttle.wait_ms(-50), Some(1_001), "time does not go back");
    }
}
