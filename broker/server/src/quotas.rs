//! Quotas of clients (KIP-13, 124, 599, 612): what they use is measured here and nowhere else, and
//! how long they have to pause for it. Limits come from the metadata, the arithmetic from `quota`.
//! The dispatcher tells the client (`throttle_time_ms`), and its connection reads nothing for so
//! long.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use base::ErrorCode;
use config::QuotaConfig;
use metadata::quota::{
    CONSUMER_BYTE_RATE, CONTROLLER_MUTATION_RATE, PRODUCER_BYTE_RATE, QuotaLimit,
    REQUEST_PERCENTAGE,
};
use metadata::{ControllerError, Image};
use parking_lot::Mutex;
use process::clock;
use process::metrics::Metrics;
use quota::{Bucket, Meters, Rate, Window};

use crate::access::Sender;
use crate::request::{Client, RequestContext};

/// Of each kind. Beyond that, users that come anew share one meter.
const METERS_MAX: usize = 10_000;

/// Who has a meter: a user, a client id or both, as the quota says that counts.
type Holder = (Option<Arc<str>>, Option<Arc<str>>);

/// What a request used beside time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Used {
    Nothing,
    /// Bytes of a Produce request.
    Produced(usize),
    /// Bytes of records that a consumer is sent.
    Fetched(usize),
}

/// All meters of this broker.
#[derive(Debug)]
pub struct Quotas {
    window: Window,
    controller_window: Window,
    produced: Mutex<Meters<Holder, Rate>>,
    fetched: Mutex<Meters<Holder, Rate>>,
    time: Mutex<Meters<Holder, Rate>>,
    changes: Mutex<Meters<Holder, Bucket>>,
    connections: Mutex<Meters<IpAddr, Rate>>,
    metrics: Arc<Metrics>,
}

fn holder(client: Client<'_>, quota: QuotaLimit) -> Holder {
    let user = quota.by_user.then(|| client.user.clone());
    (user, quota.by_client_id.then(|| client.client_id.clone()))
}

impl Quotas {
    pub fn new(config: &QuotaConfig, metrics: Arc<Metrics>) -> Quotas {
        Quotas {
            window: Window::new(config.samples, config.sample_seconds),
            controller_window: Window::new(
                config.controller_samples,
                config.controller_sample_seconds,
            ),
            produced: Mutex::new(Meters::new(METERS_MAX)),
            fetched: Mutex::new(Meters::new(METERS_MAX)),
            time: Mutex::new(Meters::new(METERS_MAX)),
            changes: Mutex::new(Meters::new(METERS_MAX)),
            connections: Mutex::new(Meters::new(METERS_MAX)),
            metrics,
        }
    }

    /// Counts what a request used, and says how long its client has to pause. The time that it
    /// took is counted by [`Quotas::work`].
    pub fn spend(&self, image: &Image, cx: &RequestContext, used: Used) -> Duration {
        // Brokers among each other have quotas of their own.
        if !image.has_quotas() || matches!(cx.sender, Sender::Broker(_)) {
            return Duration::ZERO;
        }
        let client = cx.client();
        let bytes_ms = match used {
            Used::Nothing => 0,
            Used::Produced(bytes) => {
                let limit = image.client_quota(PRODUCER_BYTE_RATE, client.user, client.client_id);
                self.measure(&self.produced, client, limit, bytes as f64)
            }
            Used::Fetched(bytes) => {
                let limit = image.client_quota(CONSUMER_BYTE_RATE, client.user, client.client_id);
                self.measure(&self.fetched, client, limit, bytes as f64)
            }
        };
        let name = if matches!(used, Used::Produced(_)) { "produce" } else { "fetch" };
        self.note(name, bytes_ms);
        let pause_ms = bytes_ms.max(self.time_ms(image, client, Duration::ZERO));
        Duration::from_millis(pause_ms.unsigned_abs())
    }

    /// Counts time on a network thread; no pause for it is longer than a sample of the window.
    pub fn work(&self, image: &Image, client: Client<'_>, worked: Duration) -> Duration {
        if !image.has_quotas() {
            return Duration::ZERO;
        }
        let pause_ms = self.time_ms(image, client, worked);
        self.note("request", pause_ms);
        Duration::from_millis(pause_ms.unsigned_abs())
    }

    fn time_ms(&self, image: &Image, client: Client<'_>, worked: Duration) -> i64 {
        let limit = image.client_quota(REQUEST_PERCENTAGE, client.user, client.client_id);
        let percent = worked.as_secs_f64() * 100.0;
        self.measure(&self.time, client, limit, percent).min(self.window.sample_ms())
    }

    fn measure(
        &self,
        meters: &Mutex<Meters<Holder, Rate>>,
        client: Client<'_>,
        quota: Option<QuotaLimit>,
        amount: f64,
    ) -> i64 {
        let Some(quota) = quota else { return 0 };
        let (window, now_ms) = (self.window, clock::monotonic_ms());
        let mut meters = meters.lock();
        let rate = meters.of(holder(client, quota), now_ms, window.whole_ms());
        if amount > 0.0 {
            rate.record(window, now_ms, amount);
        }
        rate.throttle_ms(window, now_ms, quota.limit)
    }

    fn note(&self, quota: &str, pause_ms: i64) {
        if pause_ms > 0 {
            self.metrics.quota_throttled.with_label_values(&[quota]).inc();
            let total = self.metrics.quota_throttle_ms.with_label_values(&[quota]);
            total.inc_by(pause_ms.unsigned_abs());
        }
    }

    /// What one fetch of the client may have at most: a whole window at its limit, as in Kafka.
    pub fn fetch_bytes_max(&self, image: &Image, client: Client<'_>) -> Option<i32> {
        let quota = image.client_quota(CONSUMER_BYTE_RATE, client.user, client.client_id)?;
        Some(self.window.burst(quota.limit).clamp(1.0, f64::from(i32::MAX)) as i32)
    }

    /// Whether a connection from this address may come. One that may not does not count.
    pub fn admits(&self, image: &Image, ip: IpAddr) -> bool {
        if !image.has_quotas() {
            return true;
        }
        let Some(limit) = image.connection_quota(&ip.to_string()) else { return true };
        let (window, now_ms) = (self.window, clock::monotonic_ms());
        let mut meters = self.connections.lock();
        let rate = meters.of(ip, now_ms, window.whole_ms());
        rate.record(window, now_ms, 1.0);
        let pause_ms = rate.throttle_ms(window, now_ms, limit);
        if pause_ms > 0 {
            rate.record(window, now_ms, -1.0);
        }
        self.note("connection", pause_ms);
        pause_ms == 0
    }

    /// The changes of the metadata that one request asks for. `strict_from`: the version from
    /// which on a client knows `THROTTLING_QUOTA_EXCEEDED`; earlier ones only pause.
    pub fn changes<'a>(
        &'a self,
        image: &'a Image,
        cx: &'a RequestContext,
        strict_from: i16,
    ) -> Changes<'a> {
        let client = cx.client();
        let key = CONTROLLER_MUTATION_RATE;
        let quota = image.client_quota(key, client.user, client.client_id);
        Changes { quotas: self, client, quota, is_strict: cx.version >= strict_from, pause_ms: 0 }
    }
}

/// See [`Quotas::changes`].
#[derive(Debug)]
pub struct Changes<'a> {
    quotas: &'a Quotas,
    client: Client<'a>,
    quota: Option<QuotaLimit>,
    is_strict: bool,
    pause_ms: i64,
}

impl Changes<'_> {
    /// Whether so many partitions may be created or deleted now.
    pub fn take(&mut self, partitions: usize) -> Result<(), ControllerError> {
        let Some(quota) = self.quota else { return Ok(()) };
        let (window, now_ms) = (self.quotas.controller_window, clock::monotonic_ms());
        let mut meters = self.quotas.changes.lock();
        let bucket = meters.of(holder(self.client, quota), now_ms, window.whole_ms());
        let owed_ms = bucket.wait_ms(window, now_ms, quota.limit);
        if self.is_strict && owed_ms > 0 {
            self.pause_ms = self.pause_ms.max(owed_ms);
            return Err(ErrorCode::ThrottlingQuotaExceeded.into());
        }
        bucket.take(window, now_ms, quota.limit, partitions as f64);
        if !self.is_strict {
            self.pause_ms = self.pause_ms.max(bucket.wait_ms(window, now_ms, quota.limit));
        }
        Ok(())
    }

    /// For the answer: how long the client has to pause.
    pub fn throttle_time_ms(&self) -> i32 {
        self.quotas.note("controller_mutation", self.pause_ms);
        i32::try_from(self.pause_ms).unwrap_or(i32::MAX)
    }
}
