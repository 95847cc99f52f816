//! The controller of `KafkaCluster`.

use std::sync::Arc;

use anyhow::Result;

use crate::Context;
use crate::runtime::Stop;

/// Runs until stopped.
pub async fn run(context: Arc<Context>, stop: Stop) -> Result<()> {
    let _ = context;
    stop.stopped().await;
    Ok(())
}
