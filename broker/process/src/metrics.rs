//! The broker's metrics. Handles are looked up once, at start or when a partition is created; the
//! hot path only counts.

use std::sync::OnceLock;
use std::time::Duration;

use prometheus::core::Collector;
use prometheus::{
    Encoder, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge,
    IntGaugeVec, Opts, Registry, TextEncoder,
};
use wire::ApiKey;

/// 0.1 ms to 10 s, about three steps per factor of ten.
const LATENCY_BUCKETS: &[f64] = &[
    0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5,
    5.0, 10.0,
];
/// Index of requests whose API is unknown.
pub const UNKNOWN_API: usize = 0;

/// Latencies of one API by phase. Together they are what the client waits for, the network apart.
#[derive(Debug)]
pub struct ApiMetrics {
    local: Histogram,
    wait: Histogram,
    send: Histogram,
}

impl ApiMetrics {
    fn new(latency: &HistogramVec, api: &str) -> ApiMetrics {
        let of = |phase| latency.with_label_values(&[api, phase]);
        ApiMetrics { local: of("local"), wait: of("wait"), send: of("send") }
    }

    /// From the complete frame to the end of what the broker can do at once: for a produce request
    /// all of its appends, for a fetch the first read.
    pub fn worked(&self, elapsed: Duration) {
        self.local.observe(elapsed.as_secs_f64());
    }

    /// From there to the finished reply: for replicas, for more data, for the controller, for the
    /// replies to earlier requests.
    pub fn waited(&self, elapsed: Duration) {
        self.wait.observe(elapsed.as_secs_f64());
    }

    /// From the finished reply to its last byte in the socket.
    pub fn sent(&self, elapsed: Duration) {
        self.send.observe(elapsed.as_secs_f64());
    }
}

/// What the log cleaner does.
#[derive(Debug)]
pub struct CleanerMetrics {
    pub max_dirty_percent: IntGauge,
    pub bytes_read: IntCounter,
    pub bytes_written: IntCounter,
    pub cleanings: IntCounter,
    /// Logs that it failed on and leaves alone, by topic and partition.
    pub uncleanable: IntGaugeVec,
    pub uncleanable_count: IntGauge,
}

impl CleanerMetrics {
    fn new(m: &Maker<'_>) -> Result<CleanerMetrics, prometheus::Error> {
        Ok(CleanerMetrics {
            max_dirty_percent: m.gauge(
                "cleaner_max_dirty_percent",
                "Largest share of a compacted log that was not cleaned yet, in percent",
            )?,
            bytes_read: m
                .counter("cleaner_bytes_read_total", "Bytes of batches that the cleaner read")?,
            bytes_written: m
                .counter("cleaner_bytes_written_total", "Bytes that the cleaner wrote anew")?,
            cleanings: m.counter("cleaner_cleanings_total", "Cleanings of a log")?,
            uncleanable: m.gauges(
                "cleaner_uncleanable",
                "1 for a log that the cleaner failed on and leaves alone",
                &["topic", "partition"],
            )?,
            uncleanable_count: m.gauge(
                "cleaner_uncleanable_partitions",
                "Logs that the cleaner failed on and leaves alone",
            )?,
        })
    }
}

/// Everything that `/metrics` shows.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    latency: HistogramVec,
    /// By API code + 1; `UNKNOWN_API` first. Made at the first request, so that `/metrics` tells
    /// only of what is used.
    apis: Vec<OnceLock<ApiMetrics>>,
    pub bytes_in: IntCounter,
    pub bytes_out: IntCounter,
    pub produced_bytes: IntCounter,
    pub produced_records: IntCounter,
    pub fetched_bytes: IntCounter,
    pub replicated_bytes: IntCounter,
    pub connections: IntGauge,
    pub fetch_sessions: IntGauge,
    pub isr_shrinks: IntCounter,
    pub isr_expands: IntCounter,
    pub partitions: IntGauge,
    pub leaders: IntGauge,
    pub under_replicated: IntGauge,
    pub under_min_isr: IntGauge,
    pub rejected_entries: IntCounter,
    pub waits_for_upgrade: IntGauge,
    pub offline: IntGauge,
    pub offline_log_dirs: IntGauge,
    pub full_log_dirs: IntGauge,
    pub is_active_controller: IntGauge,
    pub leader_changes: IntCounter,
    /// Lag of each group by topic and partition.
    pub group_lag: IntGaugeVec,
    pub group_lag_omitted: IntGauge,
    pub cleaner: CleanerMetrics,
    pub errors: IntCounterVec,
    /// Answers that told their client to pause, by the quota that did.
    pub quota_throttled: IntCounterVec,
    pub quota_throttle_ms: IntCounterVec,
}

impl Metrics {
    pub fn new() -> Result<Metrics, prometheus::Error> {
        let registry = Registry::new();
        let latency = HistogramVec::new(
            HistogramOpts::new(
                "barnabas_request_seconds",
                "Latency of requests by phase: local work, wait for others, send",
            )
            .buckets(LATENCY_BUCKETS.to_vec()),
            &["api", "phase"],
        )?;
        let m = Maker { registry: &registry };
        m.register(latency.clone())?;
        Ok(Metrics {
            apis: (0..=last_api()).map(|_| OnceLock::new()).collect(),
            latency,
            bytes_in: m.counter("bytes_in_total", "Bytes of request frames received")?,
            bytes_out: m.counter("bytes_out_total", "Bytes of response frames sent")?,
            produced_bytes: m.counter("produced_bytes_total", "Bytes of batches appended")?,
            produced_records: m.counter("produced_records_total", "Records appended")?,
            fetched_bytes: m.counter("fetched_bytes_total", "Bytes of batches to consumers")?,
            replicated_bytes: m.counter("replicated_bytes_total", "Bytes appended as follower")?,
            connections: m.gauge("connections", "Open client connections")?,
            fetch_sessions: m.gauge("fetch_sessions", "Incremental fetch sessions")?,
            isr_shrinks: m.counter("isr_shrinks_total", "ISR members removed as leader")?,
            isr_expands: m.counter("isr_expands_total", "ISR members added as leader")?,
            partitions: m.gauge("partitions", "Replicas on this broker")?,
            leaders: m.gauge("leader_partitions", "Partitions that this broker leads")?,
            under_replicated: m
                .gauge("under_replicated_partitions", "Led partitions with ISR below replicas")?,
            under_min_isr: m
                .gauge("under_min_isr_partitions", "Led partitions with ISR below minimum")?,
            rejected_entries: m.counter(
                "metadata_rejected_entries_total",
                "Committed metadata entries that did not fit and were left out by every broker",
            )?,
            waits_for_upgrade: m.gauge(
                "metadata_waits_for_upgrade",
                "1 once the metadata has what this release cannot read",
            )?,
            offline: m.gauge("offline_partitions", "Partitions of the cluster without leader")?,
            offline_log_dirs: m
                .gauge("offline_log_directory_count", "Log directories whose disk failed")?,
            full_log_dirs: m
                .gauge("full_log_directory_count", "Log directories that take no records")?,
            is_active_controller: m.gauge("active_controller", "1 on the active controller")?,
            leader_changes: m
                .counter("leader_changes_total", "Leaderships taken or given up by this broker")?,
            group_lag: m.gauges(
                "consumer_lag",
                "Records between a group's committed offset and the high watermark",
                &["group", "topic", "partition"],
            )?,
            group_lag_omitted: m.gauge(
                "consumer_lag_omitted",
                "Committed positions without a series of consumer_lag, as there are too many",
            )?,
            cleaner: CleanerMetrics::new(&m)?,
            quota_throttled: m.counters(
                "quota_throttled_total",
                "Times that a client had to pause for a quota",
                &["quota"],
            )?,
            quota_throttle_ms: m.counters(
                "quota_throttle_milliseconds_total",
                "Sum of those pauses",
                &["quota"],
            )?,
            errors: m.counters("errors_total", "Errors by kind", &["kind"])?,
            registry,
        })
    }

    /// The metrics of an API by the index that `api_index` gives.
    pub fn api(&self, index: usize) -> &ApiMetrics {
        let index = if index < self.apis.len() { index } else { UNKNOWN_API };
        self.apis[index].get_or_init(|| ApiMetrics::new(&self.latency, api_name(index)))
    }

    /// The text format.
    pub fn encode(&self) -> Result<Vec<u8>, prometheus::Error> {
        let mut text = Vec::new();
        TextEncoder::new().encode(&self.registry.gather(), &mut text)?;
        Ok(text)
    }
}

/// Index of an API's metrics.
pub fn api_index(api: ApiKey) -> usize {
    usize::try_from(api.code()).map_or(UNKNOWN_API, |code| code + 1)
}

fn last_api() -> usize {
    ApiKey::all().map(api_index).max().unwrap_or(UNKNOWN_API)
}

fn api_name(index: usize) -> &'static str {
    let code = index.checked_sub(1).and_then(|code| i16::try_from(code).ok());
    code.and_then(ApiKey::from_i16).map_or("unknown", ApiKey::name)
}

struct Maker<'a> {
    registry: &'a Registry,
}

impl Maker<'_> {
    fn register(&self, metric: impl Collector + 'static) -> Result<(), prometheus::Error> {
        self.registry.register(Box::new(metric))
    }

    fn opts(name: &str, help: &str) -> Opts {
        Opts::new(format!("barnabas_{name}"), help)
    }

    fn counter(&self, name: &str, help: &str) -> Result<IntCounter, prometheus::Error> {
        let metric = IntCounter::with_opts(Maker::opts(name, help))?;
        self.register(metric.clone())?;
        Ok(metric)
    }

    fn counters(
        &self,
        name: &str,
        help: &str,
        labels: &[&str],
    ) -> Result<IntCounterVec, prometheus::Error> {
        let metric = IntCounterVec::new(Maker::opts(name, help), labels)?;
        self.register(metric.clone())?;
        Ok(metric)
    }

    fn gauge(&self, name: &str, help: &str) -> Result<IntGauge, prometheus::Error> {
        let metric = IntGauge::with_opts(Maker::opts(name, help))?;
        self.register(metric.clone())?;
        Ok(metric)
    }

    fn gauges(
        &self,
        name: &str,
        help: &str,
        labels: &[&str],
    ) -> Result<IntGaugeVec, prometheus::Error> {
        let metric = IntGaugeVec::new(Maker::opts(name, help), labels)?;
        self.register(metric.clone())?;
        Ok(metric)
    }
}
