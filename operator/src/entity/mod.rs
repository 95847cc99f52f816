//! The controller of what lives in a cluster and has a resource of its own: topics today. Ten
//! thousand of a kind on one cluster are no trouble: resources are indexed by the entity that they
//! name, and one worker per cluster looks at entities in batches.
//!
//! - [`resource`]: what a kind has to say of itself, and what is known of a resource;
//! - [`batch`]: what a kind does to the brokers;
//! - [`cluster`]: what matters of a cluster;
//! - [`index`]: what is known of all resources, from the watches ([`watch`]);
//! - [`queue`]: the entities of a cluster that want a look, each once;
//! - [`controller`]: from the watches to the queues;
//! - [`worker`]: one batch: finalizers, one look at all entities, plans, requests;
//! - [`write`]: statuses and finalizers, where they change ([`outcome`], [`api`]);
//! - [`release_finalizers`]: the end of an operator that goes with its namespace.
//!
//! Nothing is done in a namespace before both of its watches have listed everything: a cluster that
//! was not yet seen is not a cluster that is gone. A namespace that cannot be listed holds up no
//! other.

pub mod api;
pub mod batch;
pub mod cluster;
pub mod controller;
pub mod index;
pub mod outcome;
pub mod queue;
pub mod release_finalizers;
pub mod resource;
pub mod watch;
pub mod worker;
pub mod write;

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use futures::StreamExt;
use tokio::time::{MissedTickBehavior, interval};

use crate::Context;
use crate::runtime::Stop;
use api::ApiServer;
pub use api::Resources;
pub use batch::{BATCH, Batch, Done, Job, Planned, SOON};
pub use cluster::ClusterState;
use controller::Controller;
pub use outcome::Failure;
pub use release_finalizers::release_finalizers;
pub use resource::{Entity, Entry, Key, Status, Wish};

/// How often all entities are compared with their resources, changed or not.
const RESYNC: Duration = Duration::from_secs(120);

/// Runs the controller of one kind until stopped. `batch` makes what each worker works with.
pub async fn run<B: Batch>(
    context: Arc<Context>,
    stop: Stop,
    batch: impl Fn() -> B + Send + 'static,
) -> Result<()> {
    let (mut seen, scopes) = watch::watch::<B::Entity>(&context);
    let resources = ApiServer { context: context.clone() };
    let mut controller = Controller::new(resources, scopes, batch);
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
