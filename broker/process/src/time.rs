//! Waiting, by the clock of the process or by that of a simulation.

use std::future::{Future, poll_fn};
use std::sync::OnceLock;
use std::task::Poll;
use std::time::Duration;

use tokio::time::Instant;

use crate::simulation;

/// A time limit was reached.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TimedOut;

/// The zero of simulated time. Where it is does not matter: only differences do.
fn epoch() -> Instant {
    static EPOCH: OnceLock<Instant> = OnceLock::new();
    *EPOCH.get_or_init(Instant::now)
}

fn millis(ms: i64) -> Duration {
    Duration::from_millis(ms.max(0).unsigned_abs())
}

/// Now, for deadlines.
pub fn now() -> Instant {
    match simulation::current() {
        Some(simulation) => epoch() + millis(simulation.now_ms()),
        None => Instant::now(),
    }
}

pub async fn sleep(pause: Duration) {
    sleep_until(now() + pause).await;
}

pub async fn sleep_until(at: Instant) {
    if simulation::current().is_none() {
        return tokio::time::sleep_until(at).await;
    }
    let micros = at.saturating_duration_since(epoch()).as_micros();
    let at_ms = i64::try_from(micros.div_ceil(1000)).unwrap_or(i64::MAX);
    let mut timer = Timer(None);
    poll_fn(|cx| {
        let Some(simulation) = simulation::current() else { return Poll::Pending };
        if simulation.now_ms() >= at_ms {
            return Poll::Ready(());
        }
        timer.0.get_or_insert_with(|| simulation.wake_at(at_ms, cx.waker()));
        Poll::Pending
    })
    .await;
}

/// A simulated timer, cancelled when nobody waits for it.
struct Timer(Option<u64>);

impl Drop for Timer {
    fn drop(&mut self) {
        if let (Some(timer), Some(simulation)) = (self.0, simulation::current()) {
            simulation.cancel(timer);
        }
    }
}

pub async fn timeout<F: Future>(limit: Duration, work: F) -> Result<F::Output, TimedOut> {
    timeout_at(now() + limit, work).await
}

pub async fn timeout_at<F: Future>(deadline: Instant, work: F) -> Result<F::Output, TimedOut> {
    if simulation::current().is_none() {
        return tokio::time::timeout_at(deadline, work).await.map_err(|_| TimedOut);
    }
    tokio::select! {
        biased;
        result = work => Ok(result),
        () = sleep_until(deadline) => Err(TimedOut),
    }
}
