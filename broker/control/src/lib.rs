//! This broker's part in the control of its cluster: it registers with the active controller and
//! heartbeats, is the active controller where the quorum made it that, and sends requests to the
//! one that is.

pub mod broker_session;
pub mod controller_client;
pub mod controller_task;
mod entries;
pub mod isr_task;
pub mod pod_config;
mod voters;
