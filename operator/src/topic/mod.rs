//! The controller of `Topic`, for ten thousand of them on one cluster: resources are indexed by
//! the topic that they name, and one worker per cluster looks at topics in batches.
//!
//! - [`index`]: what is known of resources, from the watches;
//! - [`queue`]: the topics of a cluster that want a look, each once;
//! - [`worker`]: one batch: finalizers, one look at all topics, plans, requests ([`execute`]);
//! - [`write`]: statuses and finalizers, where they change;
//! - [`release_finalizers`]: the end of an operator that goes with its namespace.
//!
//! Nothing is done in a namespace before both of its watches have listed everything: a cluster that
//! was not yet seen is not a cluster that is gone. A namespace that cannot be listed holds up no
//! other.

mod admin;
mod controller;
mod execute;
mod index;
mod outcome;
mod queue;
mod release_finalizers;
mod resources;
#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
mod watch;
mod worker;
mod write;

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use futures::StreamExt;
use tokio::time::{MissedTickBehavior, interval};

use crate::Context;
use crate::kafka::{Admin, Options};
use crate::runtime::Stop;
use controller::Controller;
#[cfg(test)]
pub use index::ClusterState;
pub use release_finalizers::release_finalizers;
use resources::ApiServer;

/// Topics of one batch.
const BATCH: usize = 100;
/// How often all topics are compared with their resources, changed or not.
const RESYNC: Duration = Duration::from_secs(120);

/// Runs until stopped.
pub async fn run(context: Arc<Context>, stop: Stop) -> Result<()> {
    let (mut seen, scopes) = watch::watch(&context);
    let resources = ApiServer { context: context.clone() };
    let admin = || Admin::new(Vec::new(), Options::default());
    let mut controller = Controller::new(resources, scopes, admin);
    let mut resync = interval(RESYNC);
    resync.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let stopped = stop.stopped();
    tokio::pin!(stopped);
    loop {
        tokio::select! {
            () = &mut stopped => break,
            _ = resync.tick() => controller.resync(),
            event = seen.next() => match event {
                Some(event) => controller.handle(event).await,
                None => anyhow::bail!("the watches ended"),
            },
        }
    }
    controller.stop().await;
    Ok(())
}
