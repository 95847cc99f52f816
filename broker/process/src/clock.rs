//! The clocks of the process: wall time for what is stored, monotonic time for what is waited for,
//! and a wall time that is not believed at once for what is deleted by age. The cores get all of
//! them as numbers.

use std::sync::OnceLock;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use parking_lot::Mutex;

use crate::simulation;

/// Milliseconds since the Unix epoch: record timestamps, commit times.
pub fn wall_ms() -> i64 {
    if let Some(simulation) = simulation::current() {
        return simulation.now_ms();
    }
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX)
}

/// Milliseconds that never go back: lags, sessions, grace periods. Starts near wall time, so that
/// logs of it can be read.
pub fn monotonic_ms() -> i64 {
    if let Some(simulation) = simulation::current() {
        return simulation.now_ms();
    }
    static START: OnceLock<(Instant, i64)> = OnceLock::new();
    let (start, wall) = START.get_or_init(|| (Instant::now(), wall_ms()));
    wall + i64::try_from(start.elapsed().as_millis()).unwrap_or(i64::MAX)
}

/// Wall time as far as it may delete by it: retention, the expiry of offsets and of producers, the
/// delay of deletions. What these delete does not come back when the clock is set right again.
pub fn expiry_ms() -> i64 {
    if let Some(simulation) = simulation::current() {
        return simulation.now_ms();
    }
    static CLOCK: Mutex<ExpiryClock> = Mutex::new(ExpiryClock::new());
    CLOCK.lock().read(wall_ms(), monotonic_ms())
}

/// A step of the wall clock up to this is followed at once: it matters to no retention.
const STEP_MS: i64 = 10 * 60 * 1000;
/// For how long a larger step forward must last until it is believed.
const DOUBT_MS: i64 = 60 * 60 * 1000;

/// A wall clock that follows no large step forward until it has lasted.
struct ExpiryClock {
    /// Wall time less monotonic time, as far as it is believed; `None` before the first look.
    offset_ms: Option<i64>,
    /// Since when, in monotonic time, the wall clock is ahead of that.
    ahead_since_ms: Option<i64>,
}

impl ExpiryClock {
    const fn new() -> ExpiryClock {
        ExpiryClock { offset_ms: None, ahead_since_ms: None }
    }

    fn read(&mut self, wall_ms: i64, monotonic_ms: i64) -> i64 {
        let seen = wall_ms - monotonic_ms;
        let believed = *self.offset_ms.get_or_insert(seen);
        let offset_ms = if seen - believed <= STEP_MS {
            self.ahead_since_ms = None;
            seen
        } else {
            self.doubt(seen, believed, monotonic_ms)
        };
        self.offset_ms = Some(offset_ms);
        monotonic_ms + offset_ms
    }

    fn doubt(&mut self, seen: i64, believed: i64, monotonic_ms: i64) -> i64 {
        let minutes = (seen - believed) / 60_000;
        match self.ahead_since_ms {
            None => {
                self.ahead_since_ms = Some(monotonic_ms);
                tracing::warn!(
                    minutes,
                    "the clock stepped forward: nothing expires by it for an hour"
                );
                believed
            }
            Some(since) if monotonic_ms - since < DOUBT_MS => believed,
            Some(_) => {
                self.ahead_since_ms = None;
                tracing::warn!(
                    minutes,
                    "the clock is still ahead: things expire by it from now on"
                );
                seen
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR_MS: i64 = 60 * 60 * 1000;

    #[test]
    fn a_step_forward_expires_nothing_until_it_has_lasted() {
        let mut clock = ExpiryClock::new();
        assert_eq!(clock.read(1_000, 0), 1_000);
        assert_eq!(clock.read(61_500, 60_000), 61_500, "what drifts is followed");
        let year = 365 * 24 * HOUR_MS;
        assert_eq!(clock.read(year, 70_000), 71_500);
        assert_eq!(clock.read(year + HOUR_MS - 1, 70_000 + HOUR_MS - 1), 71_500 + HOUR_MS - 1);
        let after = 70_000 + HOUR_MS;
        assert_eq!(clock.read(year + HOUR_MS, after), year + HOUR_MS);
        assert_eq!(clock.read(year + HOUR_MS + 5, after + 5), year + HOUR_MS + 5);
    }

    #[test]
    fn a_clock_that_is_set_right_again_has_done_no_harm() {
        let mut clock = ExpiryClock::new();
        clock.read(0, 0);
        assert_eq!(clock.read(50 * HOUR_MS, HOUR_MS / 2), HOUR_MS / 2);
        assert_eq!(clock.read(HOUR_MS, HOUR_MS), HOUR_MS);
        // The doubt begins anew with the next step.
        assert_eq!(clock.read(99 * HOUR_MS, 2 * HOUR_MS), 2 * HOUR_MS);
        assert_eq!(clock.read(99 * HOUR_MS, 3 * HOUR_MS - 1), 3 * HOUR_MS - 1);
    }

    #[test]
    fn steps_back_and_small_steps_are_followed_at_once() {
        let mut clock = ExpiryClock::new();
        clock.read(10 * HOUR_MS, 0);
        assert_eq!(clock.read(HOUR_MS, 10), HOUR_MS);
        assert_eq!(clock.read(HOUR_MS + STEP_MS + 10, 20), HOUR_MS + STEP_MS + 10);
    }
}
