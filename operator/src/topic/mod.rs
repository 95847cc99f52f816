//! Topics: what [`crate::entity`] has to be told of them.
//!
//! - [`entity`]: what a `Topic` asks for, and what its status says;
//! - [`batch`]: one look at a batch of topics, plans, requests ([`execute`]);
//! - [`admin`]: what is asked of the brokers.

mod admin;
mod batch;
mod entity;
mod execute;
#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;

use std::sync::Arc;

use anyhow::Result;

use crate::Context;
use crate::entity as entities;
use crate::kafka::{Admin, Options};
use crate::runtime::Stop;
use batch::TopicBatch;
pub use entity::Topics;

/// Runs until stopped.
pub async fn run(context: Arc<Context>, stop: Stop) -> Result<()> {
    let batch = || TopicBatch::new(Admin::new(Vec::new(), Options::default()));
    entities::run(context, stop, batch).await
}
