//! The loop that replicates from one leader broker. A change of what to fetch ends a long poll at
//! once: the request that waits cannot be amended, so the connection is made anew, which costs less
//! than the failover that would wait for it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use base::BrokerId;
use wire::Str;

use super::Changes;
use super::link::{Link, LinkError};
use super::positions::Positions;
use crate::broker::Broker;

const RETRY_MIN: Duration = Duration::from_millis(20);
/// Time in which a response that is on its way spares the new connection.
const CHANGE_GRACE: Duration = Duration::from_millis(2);
/// Beyond the longest poll, before the leader counts as gone.
const RESPONSE_SLACK: Duration = Duration::from_secs(10);

struct FetchLoop {
    broker: Arc<Broker>,
    leader: BrokerId,
    changes: Arc<Changes>,
    positions: Positions,
    link: Option<Link>,
    retry: Duration,
}

/// Replicates from `leader` until connections close.
pub(super) async fn run(broker: Arc<Broker>, leader: BrokerId, changes: Arc<Changes>) {
    let shutdown = broker.shutdown.clone();
    let mut this = FetchLoop {
        broker,
        leader,
        changes,
        positions: Positions::default(),
        link: None,
        retry: RETRY_MIN,
    };
    tokio::select! {
        () = shutdown.connections_closing() => {}
        () = this.fetch_for_ever() => {}
    }
}

impl FetchLoop {
    async fn fetch_for_ever(&mut self) {
        loop {
            self.positions.apply(self.changes.take());
            self.positions.resume();
            if self.positions.is_idle() {
                self.sleep_until_resume().await;
                continue;
            }
            match self.fetch().await {
                Ok(()) => self.retry = RETRY_MIN,
                Err(error) => self.back_off(&error).await,
            }
        }
    }

    async fn sleep_until_resume(&mut self) {
        match self.positions.next_resume() {
            Some(until) => tokio::select! {
                () = self.changes.posted() => {}
                () = tokio::time::sleep_until(until.into()) => {}
            },
            None => {
                // Nothing to fetch from this leader: no connection is held for it.
                self.link = None;
                self.changes.posted().await;
            }
        }
    }

    /// One request and its response.
    async fn fetch(&mut self) -> Result<(), LinkError> {
        if self.link.is_none() {
            self.link = Some(self.connect().await?);
            self.positions.reset_session();
        }
        let Some(link) = self.link.as_mut() else { return Ok(()) };
        let broker = &self.broker;
        let config = &broker.config.replica;
        let epoch = broker.image().broker(broker.id).map_or(-1, |b| b.epoch);
        let request = self.positions.request(broker.id, epoch, config);
        link.send(&request).await?;
        let pause = Duration::from_millis(config.fetch_backoff_ms);
        let wait = Duration::from_millis(config.fetch_wait_ms_max.max(0).unsigned_abs().into());
        let resume_at = self.positions.next_resume();
        let (positions, leader) = (&mut self.positions, self.leader);
        let mut bytes = 0;
        let finished = {
            let response = link.receive(wait + RESPONSE_SLACK, |response| {
                bytes = positions.process(leader, response, pause);
            });
            tokio::pin!(response);
            tokio::select! {
                received = &mut response => Some(received),
                () = changed(&self.changes, resume_at) => {
                    tokio::time::timeout(CHANGE_GRACE, &mut response).await.ok()
                }
            }
        };
        broker.metrics.replicated_bytes.inc_by(bytes as u64);
        match finished {
            Some(Err(error)) => Err(error),
            Some(Ok(())) => Ok(()),
            None => {
                self.link = None;
                Ok(())
            }
        }
    }

    async fn connect(&self) -> Result<Link, LinkError> {
        let image = self.broker.image();
        let config = &self.broker.config;
        let listener = &config.inter_broker_listener;
        let endpoint = image.broker(self.leader).and_then(|b| b.listener(listener).cloned());
        let Some(endpoint) = endpoint else { return Err(LinkError::Closed) };
        let client_id = Str::from(format!("broker-{}-fetcher", config.broker_id));
        // What the leader may send: the limit of a response, or one batch that is larger.
        let frame_bytes_max = config.net.request_bytes_max
            + config.replica.fetch_response_bytes_max.max(0).unsigned_abs() as usize;
        Link::connect(&endpoint.host, endpoint.port, client_id, frame_bytes_max).await
    }

    /// Pauses after a failure; a change of what to fetch, or an image, ends the pause.
    async fn back_off(&mut self, error: &LinkError) {
        tracing::debug!(leader = %self.leader, %error, "fetch from leader");
        self.link = None;
        let mut applied = self.broker.partitions.applied();
        tokio::select! {
            () = self.changes.posted() => {}
            _ = applied.changed() => {}
            () = tokio::time::sleep(self.retry) => {}
        }
        let longest = Duration::from_millis(self.broker.config.replica.fetch_backoff_ms);
        self.retry = (self.retry * 2).min(longest.max(RETRY_MIN));
    }
}

/// Ready when the waiting fetch does not ask for everything any more.
async fn changed(changes: &Changes, resume_at: Option<Instant>) {
    let resumed = async {
        match resume_at {
            Some(at) => tokio::time::sleep_until(at.into()).await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        () = changes.posted() => {}
        () = resumed => {}
    }
}
