//! The broker process: `boot` alone builds the object graph out of the rooms below, `background`
//! runs what comes by the clock, and both end what they began.
//!
//! Data plane: `server` reads frames and answers them, `storage` holds the replicas, `coordination`
//! the groups. Control plane: `quorum` replicates the metadata image, and `control` changes it
//! while this broker is the active controller and keeps this broker registered.

pub mod background;
pub mod boot;
mod control_runtime;
mod huge_pages;
mod internal_secret;
mod open_files;
mod presence;
