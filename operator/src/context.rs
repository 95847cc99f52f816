//! What every controller is given.

use kube::Client;

use crate::runtime::{Events, Metrics, Settings};

/// Shared by all controllers of a process.
pub struct Context {
    pub client: Client,
    pub settings: Settings,
    pub metrics: Metrics,
    pub events: Events,
}

impl Context {
    pub fn new(client: Client, settings: Settings) -> Context {
        let events = Events::new(client.clone(), &settings);
        Context { client, settings, metrics: Metrics::new(), events }
    }
}
