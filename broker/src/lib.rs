//! The broker process: everything that has a clock, a socket or a task.
//!
//! Data plane: `net` reads frames, `dispatch` finds the handler in `api`, `partition` holds log and
//! replica core behind one short lock. Control plane: `quorum` (own crate) replicates the metadata
//! image, `controller_task` changes it while this broker is the active controller, and
//! `broker_session` keeps this broker registered there. `boot` alone builds the object graph.

pub mod access;
pub mod api;
pub mod background;
pub mod boot;
pub mod broker;
pub mod broker_proof;
pub mod broker_session;
pub mod check;
pub mod clock;
pub mod config;
mod control;
pub mod controller_client;
pub mod controller_task;
pub mod coordinator_task;
pub mod dev;
pub mod dispatch;
mod entries;
pub mod follower;
pub mod http;
mod huge_pages;
mod internal_secret;
pub mod isr_task;
pub mod lag;
pub mod log_dirs;
mod logging;
pub mod metrics;
pub mod net;
mod open_files;
pub mod partition;
mod pod_config;
pub mod readiness;
pub mod request;
pub mod shutdown;
pub mod suspects;
pub mod throttle;
pub mod throttles;

pub use broker::Broker;
pub use request::RequestContext;
