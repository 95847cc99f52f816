//! Waiting for conditions. The pause between two looks is not a synchronisation: every wait ends by
//! the condition or fails by name at its deadline.

use std::fmt::Display;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

/// Polls until the condition holds. An error of the condition is a "not yet", and is named when the
/// time is up.
pub fn until<T>(
    what: impl Display,
    limit: Duration,
    mut condition: impl FnMut() -> Result<Option<T>>,
) -> Result<T> {
    let deadline = Instant::now() + limit;
    loop {
        let last = match condition() {
            Ok(Some(value)) => return Ok(value),
            Ok(None) => String::from("not yet"),
            Err(error) => format!("{error:#}"),
        };
        if Instant::now() >= deadline {
            bail!("gave up after {limit:?} waiting for {what}: {last}");
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}
