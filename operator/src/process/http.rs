//! `/healthz`, `/readyz` and `/metrics`.

use std::sync::Arc;

use anyhow::{Context as _, Result};
use axum::Router;
use axum::extract::State;
use axum::routing::get;
use tokio::net::TcpListener;

use crate::Context;
use crate::runtime::Stop;

/// Serves until stopped. A replica without the Lease is ready too: it stands by.
pub async fn serve(context: Arc<Context>, listener: TcpListener, stop: Stop) -> Result<()> {
    let routes = Router::new()
        .route("/healthz", get(async || "ok\n"))
        .route("/readyz", get(async || "ok\n"))
        .route("/metrics", get(metrics))
        .with_state(context);
    axum::serve(listener, routes).with_graceful_shutdown(stop.stopped()).await.context("serve HTTP")
}

async fn metrics(State(context): State<Arc<Context>>) -> String {
    context.metrics.text()
}
