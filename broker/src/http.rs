//! `/metrics`, `/healthz` and `/readyz`. Ready means: registered, unfenced, and in the ISR of
//! everything that this broker has a replica of; else the answer says what is missing.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use axum::routing::get;
use tokio::net::TcpListener;

use crate::broker::Broker;
use crate::{lag, readiness};

const TEXT_FORMAT: &str = "text/plain; version=0.0.4; charset=utf-8";
const LAG_INTERVAL: Duration = Duration::from_secs(5);

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
    match readiness::of(&broker) {
        Ok(()) => (StatusCode::OK, "ready\n".to_owned()),
        Err(missing) => (StatusCode::SERVICE_UNAVAILABLE, format!("{missing}\n")),
    }
}

/// Brings the gauges up to date; called once a second, so that a scrape costs encoding only.
pub fn update_gauges(broker: &Broker) {
    readiness::count_partitions(broker);
    broker.metrics.under_min_isr.set(broker.partitions.under_min_isr());
}

/// Keeps the lag of the groups coordinated here up to date until connections close.
pub async fn keep_lag(broker: Arc<Broker>) {
    let closing = broker.shutdown.connections_closing();
    tokio::pin!(closing);
    loop {
        tokio::select! {
            () = tokio::time::sleep(LAG_INTERVAL) => lag::update(&broker).await,
            () = &mut closing => return,
        }
    }
}
