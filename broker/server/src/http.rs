//! HTTP for probes, scrapes and the operator. It answers from the first moment of the process on:
//! `/healthz` says how far the start is, `/readyz` what keeps the broker from being ready (ready
//! means: registered, unfenced, and in the ISR of everything that it should be in), and
//! `/restart-risk`, `/caught-up` and `/moves` what the metadata says about stopping and moving,
//! as JSON. Any broker answers the latter, with the offset of its metadata.

mod connections;

use std::collections::HashMap;
use std::fmt::Display;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use base::BrokerId;
use metadata::{Image, risk};
use serde::Serialize;
use tokio::net::TcpListener;

use connections::Limited;

use crate::broker::Broker;
use crate::readiness::{Missing, Startup};
use crate::{lag, readiness};
use process::shutdown::Shutdown;

const TEXT_FORMAT: &str = "text/plain; version=0.0.4; charset=utf-8";
const LAG_INTERVAL: Duration = Duration::from_secs(5);

/// Serves until connections close.
pub async fn serve(
    startup: Arc<Startup>,
    listener: TcpListener,
    shutdown: Shutdown,
) -> std::io::Result<()> {
    let app = Router::new()
        .route("/metrics", get(metrics))
        .route("/healthz", get(health))
        .route("/readyz", get(ready))
        .route("/restart-risk", get(restart_risk))
        .route("/caught-up", get(caught_up))
        .route("/moves", get(moves))
        .with_state(startup);
    axum::serve(Limited::new(listener), app)
        .with_graceful_shutdown(async move { shutdown.connections_closing().await })
        .await
}

/// Alive: recovery may take long and needs no restart, nor does waiting for the other brokers.
async fn health(State(startup): State<Arc<Startup>>) -> String {
    format!("{startup}\n")
}

fn unavailable(reason: impl Display) -> Response {
    (StatusCode::SERVICE_UNAVAILABLE, format!("{reason}\n")).into_response()
}

async fn metrics(State(startup): State<Arc<Startup>>) -> Response {
    let Some(broker) = startup.broker() else { return unavailable(startup) };
    // Encoding many series takes milliseconds: not on a network thread.
    let encoding = broker.clone();
    match broker.reports.run(move || encoding.metrics.encode()).await {
        Some(Ok(text)) => (StatusCode::OK, [(CONTENT_TYPE, TEXT_FORMAT)], text).into_response(),
        Some(Err(error)) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
        None => unavailable(Missing::Stopping),
    }
}

async fn ready(State(startup): State<Arc<Startup>>) -> Response {
    let Some(broker) = startup.broker() else { return unavailable(startup) };
    // It looks at every partition.
    let looking = broker.clone();
    match broker.probes.run(move || readiness::of(&looking)).await {
        Some(Ok(())) => (StatusCode::OK, "ready\n").into_response(),
        Some(Err(missing)) => unavailable(missing),
        None => unavailable(Missing::Stopping),
    }
}

/// What the metadata says, and how old it may be.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Answer<T> {
    offset: i64,
    /// An address may have become another cluster's.
    cluster_id: String,
    active_controller: Option<BrokerId>,
    #[serde(flatten)]
    body: T,
}

/// Asks the image, once this broker has a place in it, away from the network threads.
async fn ask<T: Serialize + Send + 'static>(
    startup: &Startup,
    question: impl FnOnce(&Broker, &Image) -> T + Send + 'static,
) -> Response {
    let refuse = |reason: &dyn Display| {
        let body = serde_json::json!({ "error": reason.to_string() });
        (StatusCode::SERVICE_UNAVAILABLE, Json(body)).into_response()
    };
    let Some(broker) = startup.broker() else { return refuse(startup) };
    if let Err(missing) = readiness::upgraded(broker) {
        return refuse(&missing);
    }
    let image = broker.image();
    if image.broker(broker.id).is_none() {
        return refuse(&Missing::Registration);
    }
    let asked = broker.clone();
    let active_controller = broker.quorum.leadership().borrow().leader;
    let answer = broker.reports.run(move || {
        let body = question(&asked, &image);
        let cluster_id = image.cluster_id().to_string();
        Answer { offset: image.offset(), cluster_id, active_controller, body }
    });
    match answer.await {
        Some(answer) => Json(answer).into_response(),
        None => refuse(&Missing::Stopping),
    }
}

async fn restart_risk(State(startup): State<Arc<Startup>>) -> Response {
    ask(&startup, |broker, image| risk::restart_risk(image, &broker.config.explicit)).await
}

async fn caught_up(
    State(startup): State<Arc<Startup>>,
    Query(parameters): Query<HashMap<String, String>>,
) -> Response {
    if parameters.get("broker").is_some_and(|which| which == "all") {
        return ask(&startup, |_, image| risk::all_caught_up(image)).await;
    }
    match parameters.get("broker").and_then(|id| id.parse().ok()).map(BrokerId) {
        Some(id) => ask(&startup, move |_, image| risk::caught_up(image, id)).await,
        None => {
            let body = serde_json::json!({ "error": "which one? ask for /caught-up?broker=ID" });
            (StatusCode::BAD_REQUEST, Json(body)).into_response()
        }
    }
}

async fn moves(State(startup): State<Arc<Startup>>) -> Response {
    ask(&startup, |_, image| risk::moves(image)).await
}

/// Brings the gauges up to date; called once a second, so that a scrape costs encoding only.
pub fn update_gauges(broker: &Broker) {
    readiness::count_partitions(broker);
    let metrics = &broker.metrics;
    metrics.under_min_isr.set(broker.storage.partitions.under_min_isr());
    let rejected = broker.quorum.rejected_entries();
    metrics.rejected_entries.inc_by(rejected.saturating_sub(metrics.rejected_entries.get()));
}

/// Keeps the lag of the groups coordinated here up to date until connections close.
pub async fn keep_lag(broker: Arc<Broker>) {
    let closing = broker.shutdown.connections_closing();
    tokio::pin!(closing);
    let mut lags = lag::Lags::default();
    loop {
        tokio::select! {
            () = tokio::time::sleep(LAG_INTERVAL) => lags.update(&broker).await,
            () = &mut closing => return,
        }
    }
}
