//! The operator's metrics.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use prometheus::core::Collector;
use prometheus::{
    Encoder, HistogramOpts, HistogramVec, IntCounterVec, IntGaugeVec, Opts, Registry, TextEncoder,
};

use crate::error::Category;

/// 1 ms to 60 s.
const DURATION_BUCKETS: &[f64] =
    &[0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0];

/// Everything that `/metrics` shows.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    reconciles: IntCounterVec,
    failures: IntCounterVec,
    duration: HistogramVec,
    writes: IntCounterVec,
    last_success: IntGaugeVec,
    steady: IntGaugeVec,
    /// Labels: namespace, name.
    pub brokers_desired: IntGaugeVec,
    pub brokers_ready: IntGaugeVec,
    pub partitions_blocking: IntGaugeVec,
    pub moves_in_flight: IntGaugeVec,
    pub degraded: IntGaugeVec,
    /// Labels: namespace, cluster.
    topics_ready: IntGaugeVec,
    pub topics_not_ready: IntGaugeVec,
    topic_requests: IntCounterVec,
    pub leading: IntGaugeVec,
    /// Labels: namespace, kind.
    watch_failures: IntCounterVec,
    watch_failing: IntGaugeVec,
}

const CLUSTER: &[&str] = &["namespace", "name"];

impl Metrics {
    pub fn new() -> Metrics {
        let registry = Registry::new();
        let gauge = |name: &str, help: &str, labels: &[&str]| {
            register(&registry, IntGaugeVec::new(opts(name, help), labels))
        };
        let counter = |name: &str, help: &str, labels: &[&str]| {
            register(&registry, IntCounterVec::new(opts(name, help), labels))
        };
        let duration = HistogramOpts::from(opts("reconcile_duration_seconds", "Length of a pass"))
            .buckets(DURATION_BUCKETS.to_vec());
        let metrics = Metrics {
            reconciles: counter("reconciles_total", "Passes", &["controller"]),
            failures: counter("failures_total", "Failed passes", &["controller", "category"]),
            duration: register(&registry, HistogramVec::new(duration, &["controller"])),
            writes: counter("api_writes_total", "Writes to the API server", &["kind"]),
            last_success: gauge(
                "last_success_timestamp_seconds",
                "End of the last pass that succeeded",
                &["controller"],
            ),
            steady: gauge("steady", "1 if the last pass had nothing to do", CLUSTER),
            brokers_desired: gauge("brokers_desired", "Brokers that the user wants", CLUSTER),
            brokers_ready: gauge("brokers_ready", "Brokers that are ready", CLUSTER),
            partitions_blocking: gauge(
                "partitions_blocking",
                "Partitions that the next step waits for",
                CLUSTER,
            ),
            moves_in_flight: gauge("moves_in_flight", "Partitions being moved", CLUSTER),
            degraded: gauge("degraded", "1 while the cluster is degraded", CLUSTER),
            topics_ready: gauge(
                "topics_ready",
                "Topic resources that are ready",
                &["namespace", "cluster"],
            ),
            topic_requests: counter(
                "topic_requests_total",
                "Requests to brokers that change topics",
                &[],
            ),
            topics_not_ready: gauge(
                "topics_not_ready",
                "Topic resources that are not ready",
                &["namespace", "cluster"],
            ),
            watch_failures: counter(
                "watch_failures_total",
                "Watches that failed and are tried again",
                &["namespace", "kind"],
            ),
            watch_failing: gauge(
                "watch_failing",
                "1 while a watch fails: nothing is done for what it would show",
                &["namespace", "kind"],
            ),
            leading: gauge("leading", "1 if this replica holds the Lease", &[]),
            registry,
        };
        #[cfg(target_os = "linux")]
        metrics.register_process();
        metrics
    }

    #[cfg(target_os = "linux")]
    fn register_process(&self) {
        let process = prometheus::process_collector::ProcessCollector::for_self();
        // Registered once, on a registry of its own: nothing else has these names.
        let _ = self.registry.register(Box::new(process));
    }

    /// A write to the API server, tried.
    pub fn wrote(&self, kind: &str) {
        self.writes.with_label_values(&[kind]).inc();
    }

    /// Writes so far, for tests.
    pub fn writes(&self, kind: &str) -> u64 {
        self.writes.with_label_values(&[kind]).get()
    }

    /// A pass ended.
    pub fn passed(&self, controller: &str, took: Duration, failure: Option<Category>) {
        self.reconciles.with_label_values(&[controller]).inc();
        self.duration.with_label_values(&[controller]).observe(took.as_secs_f64());
        match failure {
            Some(category) => self.failed(controller, category),
            None => {
                let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
                let seconds = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
                self.last_success.with_label_values(&[controller]).set(seconds);
            }
        }
    }

    /// Something failed, in a pass that goes on.
    pub fn failed(&self, controller: &str, category: Category) {
        self.failures.with_label_values(&[controller, category.name()]).inc();
    }

    /// A watch told something, or failed.
    pub fn watched(&self, namespace: &str, kind: &str, failed: bool) {
        self.watch_failing.with_label_values(&[namespace, kind]).set(i64::from(failed));
        if failed {
            self.watch_failures.with_label_values(&[namespace, kind]).inc();
        }
    }

    /// Whether the last pass of a cluster had nothing to do.
    pub fn steady(&self, namespace: &str, name: &str, steady: bool) {
        self.steady.with_label_values(&[namespace, name]).set(i64::from(steady));
    }

    /// How many Topics of a cluster are ready, and how many are not.
    pub fn topics(&self, namespace: &str, cluster: &str, ready: usize, not_ready: usize) {
        let count = |n: usize| i64::try_from(n).unwrap_or(i64::MAX);
        self.topics_ready.with_label_values(&[namespace, cluster]).set(count(ready));
        self.topics_not_ready.with_label_values(&[namespace, cluster]).set(count(not_ready));
    }

    /// No Topic names the cluster any more.
    pub fn forget_topics(&self, namespace: &str, cluster: &str) {
        for gauge in [&self.topics_ready, &self.topics_not_ready] {
            // It may never have had any.
            let _ = gauge.remove_label_values(&[namespace, cluster]);
        }
    }

    /// Requests to brokers that change topics.
    pub fn sent_to_brokers(&self, requests: u64) {
        self.topic_requests.with_label_values::<&str>(&[]).inc_by(requests);
    }

    /// A cluster is gone: so are its series.
    pub fn forget_cluster(&self, namespace: &str, name: &str) {
        for gauge in [
            &self.steady,
            &self.brokers_desired,
            &self.brokers_ready,
            &self.partitions_blocking,
            &self.moves_in_flight,
            &self.degraded,
            &self.topics_not_ready,
        ] {
            // It may never have had any.
            let _ = gauge.remove_label_values(&[namespace, name]);
        }
    }

    /// Prometheus text format.
    pub fn text(&self) -> String {
        let mut buffer = Vec::new();
        if let Err(error) = TextEncoder::new().encode(&self.registry.gather(), &mut buffer) {
            tracing::warn!(%error, "metrics not encoded");
        }
        String::from_utf8_lossy(&buffer).into_owned()
    }
}

impl Default for Metrics {
    fn default() -> Metrics {
        Metrics::new()
    }
}

fn opts(name: &str, help: &str) -> Opts {
    Opts::new(format!("barnabas_operator_{name}"), help)
}

fn register<C: Collector + Clone + 'static>(
    registry: &Registry,
    collector: prometheus::Result<C>,
) -> C {
    let collector = collector.expect("names and labels are fixed and valid");
    registry.register(Box::new(collector.clone())).expect("each name is registered once");
    collector
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_pass_is_counted_by_its_class_and_is_no_success() {
        let metrics = Metrics::new();
        metrics.passed("cluster", Duration::from_millis(3), Some(Category::Brokers));
        metrics.wrote("StatefulSet");
        let text = metrics.text();
        let failed =
            "barnabas_operator_failures_total{category=\"brokers\",controller=\"cluster\"} 1";
        assert!(text.contains(failed), "{text}");
        assert!(!text.contains("last_success_timestamp_seconds{"), "{text}");
        assert!(text.contains("api_writes_total{kind=\"StatefulSet\"} 1"), "{text}");
    }
}
