//! The two clocks of the process: wall time for what is stored, monotonic time for what is waited
//! for. The cores get both as numbers.

use std::sync::OnceLock;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// Milliseconds since the Unix epoch: record timestamps, commit times, retention.
pub fn wall_ms() -> i64 {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX)
}

/// Milliseconds that never go back: lags, sessions, grace periods. Starts near wall time, so that
/// logs of it can be read.
pub fn monotonic_ms() -> i64 {
    static START: OnceLock<(Instant, i64)> = OnceLock::new();
    let (start, wall) = START.get_or_init(|| (Instant::now(), wall_ms()));
    wall + i64::try_from(start.elapsed().as_millis()).unwrap_or(i64::MAX)
}
