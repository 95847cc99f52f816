//! The loop that replicates from one leader broker: one request at a time, the next one as soon as
//! an answer is appended, because it acknowledges the records. New orders end a long poll at once:
//! the request that waits cannot be amended, so the connection is made anew, which costs less than
//! a failover that waits for it.

use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use base::{BrokerEpoch, BrokerId};
use tokio::sync::watch;
use tokio::time::Instant;

use super::dial::{Dial, FetchError, FetchLink};
use super::orders::Orders;
use super::replicas::{Cut, CutDone, Replicas};
use crate::Storage;
use process::clock;
use process::task::{Failed, Tasks};
use process::time::{now, sleep, sleep_until, timeout_at};

const RETRY_MIN: Duration = Duration::from_millis(20);
/// Time in which a response that may be on its way spares the new connection.
const GRACE: Duration = Duration::from_millis(2);
/// The same for a response that has begun to arrive.
const GRACE_BEGUN: Duration = Duration::from_millis(50);
/// Between two connections that were made anew for orders, per replica: each begins a session that
/// names all of them, and orders come in many batches when topics are made or a broker is gone.
const RENEWAL_PAUSE: Duration = Duration::from_micros(10);
/// Beyond the longest poll, before the leader counts as gone.
const RESPONSE_SLACK: Duration = Duration::from_secs(10);
/// Logs cut at once, on threads that may wait for the disk.
const CUTS_PER_TASK: usize = 16;

/// What the image says of the two ends of the connection.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
struct Ends {
    /// The leader's registration and where it listens.
    leader: Option<(BrokerEpoch, String, u16)>,
    /// This broker's registration, and whether it may be in an ISR.
    own: Option<(BrokerEpoch, bool)>,
}

struct FetchLoop<D: Dial> {
    storage: Arc<Storage>,
    dial: Arc<D>,
    leader: BrokerId,
    orders: Arc<Orders>,
    applied: watch::Receiver<i64>,
    ends: Ends,
    replicas: Replicas,
    link: Option<D::Link>,
    cuts: Tasks<Vec<CutDone>>,
    retry: Duration,
    /// When the connection was given up for new orders last.
    renewed: Option<Instant>,
}

/// Replicates from `leader` until connections close.
pub(super) async fn run<D: Dial>(
    storage: Arc<Storage>,
    dial: Arc<D>,
    leader: BrokerId,
    orders: Arc<Orders>,
) {
    let shutdown = storage.shutdown.clone();
    let mut this = FetchLoop {
        applied: storage.partitions.applied(),
        ends: Ends::default(),
        replicas: Replicas::new(&storage, leader),
        storage,
        dial,
        leader,
        orders,
        link: None,
        cuts: Tasks::new(),
        retry: RETRY_MIN,
        renewed: None,
    };
    tokio::select! {
        biased;
        () = shutdown.connections_closing() => {}
        () = this.fetch_for_ever() => {}
    }
}

impl<D: Dial> FetchLoop<D> {
    async fn fetch_for_ever(&mut self) {
        loop {
            self.replicas.obey(self.orders.take());
            self.look_at_image();
            self.replicas.resume();
            while let Some(done) = self.cuts.try_join_next() {
                self.cuts_done(done);
            }
            if self.replicas.session().is_idle() {
                self.rest().await;
                continue;
            }
            match self.fetch().await {
                Ok(()) => self.retry = RETRY_MIN,
                Err(error) => self.back_off(&error).await,
            }
        }
    }

    /// Notes a new registration of either end.
    fn look_at_image(&mut self) {
        self.applied.mark_unchanged();
        let image = self.storage.image();
        let listener = &self.storage.config.inter_broker_listener;
        let leader = image.broker(self.leader).and_then(|leader| {
            let endpoint = leader.listener(listener)?;
            Some((leader.epoch, endpoint.host.to_string(), endpoint.port))
        });
        let own = image.broker(self.storage.id).map(|own| (own.epoch, own.is_active()));
        let before = std::mem::replace(&mut self.ends, Ends { leader, own });
        if self.ends.own != before.own {
            self.replicas.registered();
        }
        if self.ends.leader != before.leader {
            self.link = None;
        }
    }

    /// Nothing is to be fetched now.
    async fn rest(&mut self) {
        if self.replicas.session().is_empty() {
            // No connection is held for it.
            self.link = None;
        }
        let resume_ms = self.replicas.session().next_resume_ms();
        let resume = async {
            match resume_ms {
                Some(at_ms) => sleep(millis(at_ms - clock::monotonic_ms())).await,
                None => pending().await,
            }
        };
        tokio::select! {
            biased;
            () = self.orders.posted() => {}
            () = resume => {}
            Some(done) = self.cuts.join_next() => self.cuts_done(done),
        }
    }

    /// One request and its response.
    async fn fetch(&mut self) -> Result<(), FetchError> {
        let mut link = match self.link.take() {
            Some(link) => link,
            None => {
                let link = self.connect().await?;
                self.replicas.restart_session();
                link
            }
        };
        let config = &self.storage.config.replica;
        let epoch = self.ends.own.map_or(-1, |(epoch, _)| epoch);
        let request = self.replicas.request(epoch, config);
        let deadline = now() + millis(request.max_wait_ms.into()) + RESPONSE_SLACK;
        timeout_at(deadline, link.send(&request)).await.map_err(|_| FetchError::Timeout)??;
        if !self.await_response(&mut link, deadline).await? {
            return Ok(());
        }
        let replicas = &mut self.replicas;
        let processed = link.receive(|response| replicas.process(response))?;
        let processed = processed.map_err(FetchError::Refused)?;
        self.storage.metrics.replicated_bytes.inc_by(processed.bytes as u64);
        if processed.bytes == 0 {
            link.release();
        }
        self.cut(processed.cuts);
        self.link = Some(link);
        Ok(())
    }

    /// False if the request was given up, because it asks for the wrong things by now.
    async fn await_response(
        &mut self,
        link: &mut D::Link,
        mut deadline: Instant,
    ) -> Result<bool, FetchError> {
        let mut is_outdated = false;
        loop {
            let begun = link.has_begun();
            tokio::select! {
                biased;
                arrived = link.response() => return arrived.map(|()| true),
                () = self.orders.posted() => self.replicas.obey(self.orders.take()),
                _ = self.applied.changed() => {
                    let before = self.ends.leader.clone();
                    self.look_at_image();
                    if self.ends.leader != before {
                        return Ok(false);
                    }
                }
                () = sleep_until(deadline) => {
                    if !is_outdated {
                        return Err(FetchError::Timeout);
                    }
                    self.renewed = Some(now());
                    return Ok(false);
                }
            }
            let session = self.replicas.session();
            if session.is_empty() {
                return Ok(false);
            }
            if !is_outdated && session.has_news() {
                is_outdated = true;
                let grace = if begun { GRACE_BEGUN } else { GRACE };
                let renewal = renewal(self.renewed, session.len(), now() + grace);
                deadline = deadline.min(renewal);
            }
        }
    }

    async fn connect(&mut self) -> Result<D::Link, FetchError> {
        let Some((_, host, port)) = self.ends.leader.clone() else {
            return Err(FetchError::Unregistered);
        };
        let (dial, leader) = (self.dial.clone(), self.leader);
        let connecting = dial.connect(leader, &host, port);
        tokio::pin!(connecting);
        loop {
            tokio::select! {
                biased;
                link = &mut connecting => return link,
                _ = self.applied.changed() => {
                    let before = self.ends.leader.clone();
                    self.look_at_image();
                    if self.ends.leader != before {
                        return Err(FetchError::Moved);
                    }
                }
            }
        }
    }

    /// Pauses after a failure; new orders end the pause, and so does the leader's return.
    async fn back_off(&mut self, error: &FetchError) {
        match error {
            FetchError::Unproved(_) => {
                tracing::warn!(leader = %self.leader, %error, "fetch from leader");
            }
            _ => tracing::debug!(leader = %self.leader, %error, "fetch from leader"),
        }
        self.link = None;
        let until = now() + self.retry;
        let longest = Duration::from_millis(self.storage.config.replica.fetch_backoff_ms);
        self.retry = (self.retry * 2).min(longest.max(RETRY_MIN));
        let before = self.ends.leader.clone();
        while self.ends.leader == before {
            tokio::select! {
                biased;
                () = self.orders.posted() => return,
                _ = self.applied.changed() => self.look_at_image(),
                () = sleep_until(until) => return,
            }
        }
    }

    fn cut(&mut self, mut cuts: Vec<Cut>) {
        while !cuts.is_empty() {
            let some = cuts.split_off(cuts.len().saturating_sub(CUTS_PER_TASK));
            self.cuts.spawn_blocking(|| some.into_iter().map(Cut::make).collect());
        }
    }

    fn cuts_done(&mut self, done: Result<Vec<CutDone>, Failed>) {
        match done {
            Ok(done) => done.into_iter().for_each(|done| self.replicas.cut_done(done)),
            // Release builds abort on panic.
            Err(error) => tracing::error!(%error, "cut a log"),
        }
    }
}

/// When a connection may be made anew for orders: at once, but not again and again with all of a
/// large session.
fn renewal(last: Option<Instant>, replicas: usize, at_once: Instant) -> Instant {
    let pause = RENEWAL_PAUSE.saturating_mul(u32::try_from(replicas).unwrap_or(u32::MAX));
    last.map_or(at_once, |last| at_once.max(last + pause))
}

fn millis(ms: i64) -> Duration {
    Duration::from_millis(ms.max(0).unsigned_abs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_that_come_in_many_batches_share_a_session_that_is_large() {
        let now = Instant::now();
        assert_eq!(renewal(None, 50_000, now), now, "the first is not put off");
        assert_eq!(renewal(Some(now), 50_000, now), now + Duration::from_millis(500));
        assert_eq!(renewal(Some(now), 100, now + GRACE), now + GRACE);
        assert_eq!(renewal(Some(now), 50_000, now + RESPONSE_SLACK), now + RESPONSE_SLACK);
    }
}
