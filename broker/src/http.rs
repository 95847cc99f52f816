//! `/metrics`, `/healthz` and `/readyz`. Ready means: registered, unfenced, and in the ISR of
//! everything that this broker has a replica of; else the answer says what is missing.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use axum::routing::get;
use metadata::Image;
use tokio::net::TcpListener;

use crate::broker::Broker;

const TEXT_FORMAT: &str = "text/plain; version=0.0.4; charset=utf-8";
/// Partitions that /readyz names; the rest is counted.
const NAMED_MAX: usize = 20;

/// Serves until connections close.
pub async fn serve(broker: Arc<Broker>, listener: TcpListener) -> std::io::Result<()> {
    let shutdown = broker.shutdown.clone();
    let app = Router::new()
        .route("/metrics", get(metrics))
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
        .with_state(broker);
    axum::serve(listener, app)
        .with_graceful_shutdown(async move { shutdown.connections_closing().await })
        .await
}

async fn metrics(State(broker): State<Arc<Broker>>) -> impl IntoResponse {
    // Encoding many series takes milliseconds: not on a network thread.
    let encoded = broker.clone().read_ahead.run(move || broker.metrics.encode()).await;
    match encoded {
        Some(Ok(text)) => (StatusCode::OK, [(CONTENT_TYPE, TEXT_FORMAT)], text).into_response(),
        Some(Err(error)) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
        None => StatusCode::SERVICE_UNAVAILABLE.into_response(),
    }
}

async fn ready(State(broker): State<Arc<Broker>>) -> impl IntoResponse {
    match missing(&broker) {
        None => (StatusCode::OK, "ready\n".to_owned()),
        Some(missing) => (StatusCode::SERVICE_UNAVAILABLE, missing),
    }
}

/// What keeps this broker from being ready.
fn missing(broker: &Broker) -> Option<String> {
    if broker.shutdown.has_started() {
        return Some("shutting down\n".to_owned());
    }
    let image = broker.image();
    let Some(registration) = image.broker(broker.id) else {
        return Some("not registered with the controller\n".to_owned());
    };
    if registration.fenced {
        return Some("fenced by the controller\n".to_owned());
    }
    let outside = outside_isr(broker, &image);
    if outside.is_empty() {
        return None;
    }
    let mut text = format!("not in the ISR of {} partitions:\n", outside.len());
    for id in outside.iter().take(NAMED_MAX) {
        text.push_str(&format!("{id}\n"));
    }
    Some(text)
}

fn outside_isr(broker: &Broker, image: &Image) -> Vec<String> {
    let mut outside = Vec::new();
    for topic in image.topics() {
        for (number, partition) in topic.partitions.iter().enumerate() {
            if partition.is_replica(broker.id) && !partition.in_isr(broker.id) {
                outside.push(format!("{}-{number}", topic.name));
            }
        }
    }
    outside
}

/// Brings the gauges up to date; called once a second, so that a scrape costs encoding only.
pub fn update_gauges(broker: &Broker) {
    let image = broker.image();
    let offline = image.topics().flat_map(|topic| topic.partitions.iter());
    let offline = offline.filter(|partition| partition.leader.is_none()).count();
    broker.metrics.offline.set(offline as i64);
    let counts = broker.partitions.counts();
    broker.metrics.partitions.set(counts.hosted);
    broker.metrics.leaders.set(counts.led);
    broker.metrics.under_replicated.set(counts.under_replicated);
    broker.metrics.under_min_isr.set(counts.under_min_isr);
}
