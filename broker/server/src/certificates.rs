//! Certificates are looked at every second, and new connections use the new ones.

use std::sync::Arc;
use std::time::Duration;

use transport::Outcome;

use crate::Broker;

const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// Has new connections use the certificates that the files have now, until the broker stops.
pub async fn watch(broker: Arc<Broker>) {
    if !broker.gates.has_tls() {
        return;
    }
    let mut look = tokio::time::interval(LOOK_INTERVAL);
    look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    // What was told last, so that a file that stays wrong is told once.
    let mut told = None;
    loop {
        tokio::select! {
            _ = look.tick() => {}
            () = broker.shutdown.connections_closing() => return,
        }
        let looking = broker.clone();
        let Some(outcomes) = broker.lookups.run(move || looking.gates.refresh()).await else {
            return;
        };
        let mut problem = None;
        for (listener, outcome) in outcomes {
            match outcome {
                Outcome::Unchanged => {}
                Outcome::Reloaded => tracing::info!(%listener, "use the new certificates"),
                Outcome::Failed(error) => problem = Some((listener, error.to_string())),
            }
        }
        if let Some((listener, error)) = problem.as_ref().filter(|_| problem != told) {
            tracing::error!(%listener, %error, "read changed certificates; the old ones stay");
        }
        told = problem;
    }
}
