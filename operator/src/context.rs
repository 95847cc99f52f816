//! What every controller is given.

use std::time::Duration;

use k8s_openapi::api::core::v1::Namespace;
use kube::{Api, Client};
use tokio::time::timeout;

use crate::apply::Marks;
use crate::kafka::Throttles;
use crate::runtime::{Events, Metrics, Settings};

/// Longest wait for an answer about a namespace.
const PATIENCE: Duration = Duration::from_secs(10);

/// Shared by all controllers of a process.
pub struct Context {
    pub client: Client,
    pub settings: Settings,
    pub metrics: Metrics,
    pub events: Events,
    pub marks: Marks,
    pub throttles: Throttles,
}

impl Context {
    pub fn new(client: Client, settings: Settings) -> Context {
        let events = Events::new(client.clone(), &settings);
        let (marks, throttles) = Default::default();
        Context { client, settings, metrics: Metrics::new(), events, marks, throttles }
    }

    /// Whether the namespace is being deleted. Where that cannot be known, it is not.
    pub async fn namespace_goes(&self, name: &str) -> bool {
        let namespaces: Api<Namespace> = Api::all(self.client.clone());
        match timeout(PATIENCE, namespaces.get_metadata_opt(name)).await {
            Ok(Ok(found)) => found.is_some_and(|n| n.metadata.deletion_timestamp.is_some()),
            Ok(Err(error)) => {
                tracing::debug!(namespace = name, %error, "namespace not read");
                false
            }
            Err(_) => false,
        }
    }
}
