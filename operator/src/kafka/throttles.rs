//! The throttle of a cluster has two users: moves of the cluster, and those of its topics. One sets
//! it and begins its moves, or sees that none is left and ends it, before the other does.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::{Mutex as AsyncMutex, OwnedMutexGuard};

/// By namespace and name of the cluster.
type ByCluster = HashMap<(String, String), Arc<AsyncMutex<()>>>;

/// A lock for each cluster.
#[derive(Default)]
pub struct Throttles(Mutex<ByCluster>);

impl Throttles {
    /// Waits for its turn.
    pub async fn hold(&self, namespace: &str, cluster: &str) -> OwnedMutexGuard<()> {
        let key = (namespace.to_owned(), cluster.to_owned());
        let lock = self.0.lock().entry(key).or_default().clone();
        lock.lock_owned().await
    }

    /// The cluster is gone.
    pub fn forget(&self, namespace: &str, cluster: &str) {
        self.0.lock().remove(&(namespace.to_owned(), cluster.to_owned()));
    }
}
