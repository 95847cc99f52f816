//! The harness of the scenarios on kind: a namespace of its own for each, the operator installed by
//! its chart, a load that never stops and judges what clients saw, nodes that are stopped and come
//! back, and everything that is needed to understand a failure.
//!
//! A scenario waits for conditions and never for time to pass. Its order: `scenario` makes the
//! namespaces and follows every log in them, the body runs, logs are scanned for errors, and what
//! was made is removed. `cargo x kind test` provides the cluster and runs them.
//!
//! ```no_run
//! kind_e2e::scenario("grow", async |s| {
//!     s.install_operator(&[]).await?;
//!     s.apply(&kind_e2e::yaml::cluster("castle", 3))?;
//!     s.cluster_ready("castle", 3).await?;
//!     Ok(())
//! });
//! ```

mod accident;
mod autoscaler;
mod balancer;
mod checks;
mod command;
mod conduct;
mod disks;
mod http;
mod keep;
mod links;
mod load;
mod logs;
mod nodes;
mod operator;
mod placement;
mod provoked;
mod release;
mod scenario;
mod volumes;
mod wait;
mod webhook;
pub mod yaml;

pub use autoscaler::Metric;
pub use balancer::Balancer;
pub use checks::PodName;
pub use command::{Tool, run};
pub use disks::Disk;
pub use links::Hanging;
pub use load::{Load, Partition, Pass, Report};
pub use scenario::{Scenario, scenario};
pub use wait::{CREATE, CREATED, GAP_CALM, GAP_KILLED, GAP_LOSS, GAP_ROLL, ROLLED, SCALED, STEP};
