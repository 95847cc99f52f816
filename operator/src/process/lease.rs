//! Leader election: the replica that holds the Lease works, the others stand by. Whoever loses it
//! ends, so that two replicas never work for longer than clocks drift: a holder gives up well
//! before others may take over. The clocks of two machines are never compared: a Lease has expired
//! when it was seen unchanged for its duration.

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::coordination::v1::{Lease as Object, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use k8s_openapi::jiff::Timestamp;
use kube::Api;
use kube::api::{ObjectMeta, PostParams};
use tokio::time::{Instant, sleep, timeout};

use crate::Context;
use crate::apply::MANAGER;
use crate::error::{is_conflict, is_not_found};

const DURATION: Duration = Duration::from_secs(15);
/// A holder that could not renew for so long gives up.
const DEADLINE: Duration = Duration::from_secs(10);
/// Between two looks of one who waits, and after a failure.
const INTERVAL: Duration = Duration::from_secs(2);
/// Between two renewals that succeed.
const RENEWAL: Duration = Duration::from_secs(5);
/// One attempt, the second look after a conflict included.
const PATIENCE: Duration = Duration::from_secs(3);

/// The Lease, held or wanted.
pub struct Lease {
    api: Api<Object>,
    context: Arc<Context>,
    /// What was last seen of another holder, and since when.
    seen: Option<(LeaseSpec, Instant)>,
}

impl Lease {
    pub fn new(context: Arc<Context>) -> Lease {
        let api = Api::namespaced(context.client.clone(), &context.settings.namespace);
        Lease { api, context, seen: None }
    }

    /// Returns once this replica holds the Lease.
    pub async fn acquire(&mut self) {
        tracing::info!(lease = %self.context.settings.lease_name, "waiting for the Lease");
        loop {
            match self.attempt().await {
                Ok(true) => break tracing::info!("holding the Lease"),
                Ok(false) => {}
                Err(error) => tracing::warn!(%error, "cannot take the Lease"),
            }
            sleep(INTERVAL).await;
        }
    }

    /// Renews; returns when the Lease is lost.
    pub async fn keep(&mut self) {
        let mut renewed = Instant::now();
        let mut wait = RENEWAL;
        while renewed.elapsed() < DEADLINE {
            sleep(wait).await;
            wait = INTERVAL;
            let begun = Instant::now();
            match self.attempt().await {
                Ok(true) => (renewed, wait) = (begun, RENEWAL),
                Ok(false) => return tracing::error!("another replica took the Lease"),
                Err(error) => tracing::warn!(%error, "cannot renew the Lease"),
            }
        }
    }

    /// Lets another replica take over at once.
    pub async fn release(&mut self) {
        let release = async {
            let mut object = self.api.get(&self.context.settings.lease_name).await?;
            let spec = object.spec.get_or_insert_default();
            if spec.holder_identity.as_ref() == Some(&self.context.settings.pod_name) {
                spec.holder_identity = None;
                // Since when nobody holds it; others tell by it whether somebody will.
                spec.renew_time = Some(MicroTime(Timestamp::now()));
                self.write(&object).await?;
            }
            kube::Result::<()>::Ok(())
        };
        match timeout(PATIENCE, release).await {
            Ok(Ok(())) => tracing::info!("gave the Lease back"),
            Ok(Err(error)) => tracing::warn!(%error, "the Lease was not given back"),
            Err(_) => tracing::warn!("the Lease was not given back in time"),
        }
    }

    /// Takes or renews it; whether it is held.
    async fn attempt(&mut self) -> kube::Result<bool> {
        match timeout(PATIENCE, self.attempt_twice()).await {
            Ok(result) => result,
            Err(_) => Err(kube::Error::Service("no answer in time".into())),
        }
    }

    async fn attempt_twice(&mut self) -> kube::Result<bool> {
        match self.attempt_once().await {
            // Somebody wrote in between: the next look says who holds it.
            Err(error) if is_conflict(&error) => self.attempt_once().await,
            result => result,
        }
    }

    async fn attempt_once(&mut self) -> kube::Result<bool> {
        let me = self.context.settings.pod_name.clone();
        let mut object = match self.api.get(&self.context.settings.lease_name).await {
            Ok(object) => object,
            Err(error) if is_not_found(&error) => return self.create(&me).await,
            Err(error) => return Err(error),
        };
        let spec = object.spec.get_or_insert_default();
        let free = match &spec.holder_identity {
            Some(holder) if !holder.is_empty() && *holder != me => self.has_expired(spec),
            _ => true,
        };
        if free {
            take(spec, &me);
            self.write(&object).await?;
        }
        Ok(free)
    }

    fn has_expired(&mut self, spec: &LeaseSpec) -> bool {
        match &self.seen {
            Some((seen, since)) if seen == spec => {
                let seconds = spec.lease_duration_seconds.and_then(|s| u64::try_from(s).ok());
                since.elapsed() > seconds.map_or(DURATION, Duration::from_secs)
            }
            _ => {
                self.seen = Some((spec.clone(), Instant::now()));
                false
            }
        }
    }

    async fn create(&self, me: &str) -> kube::Result<bool> {
        let mut spec = LeaseSpec::default();
        take(&mut spec, me);
        let name = Some(self.context.settings.lease_name.clone());
        let metadata = ObjectMeta { name, ..ObjectMeta::default() };
        self.context.metrics.wrote("Lease");
        self.api.create(&params(), &Object { metadata, spec: Some(spec) }).await?;
        Ok(true)
    }

    /// Fails with a conflict if somebody wrote since it was read.
    async fn write(&self, object: &Object) -> kube::Result<()> {
        self.context.metrics.wrote("Lease");
        let name = &self.context.settings.lease_name;
        self.api.replace(name, &params(), object).await?;
        Ok(())
    }
}

fn params() -> PostParams {
    PostParams { field_manager: Some(MANAGER.into()), ..PostParams::default() }
}

fn take(spec: &mut LeaseSpec, me: &str) {
    let now = MicroTime(Timestamp::now());
    if spec.holder_identity.as_deref() != Some(me) {
        spec.lease_transitions = Some(spec.lease_transitions.unwrap_or(0).saturating_add(1));
        spec.acquire_time = Some(now.clone());
    }
    spec.holder_identity = Some(me.into());
    spec.lease_duration_seconds = i32::try_from(DURATION.as_secs()).ok();
    spec.renew_time = Some(now);
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {

    use super::*;
    use crate::fake_api::FakeApi;

    const LEASE: &str = "/apis/coordination.k8s.io/v1/namespaces/default/leases/barnabas-operator";

    fn lease(api: &FakeApi) -> Lease {
        Lease::new(api.context(&[]))
    }

    /// Somebody else wrote, and then the API server is silent: a holder must not wait for it for
    /// longer than it may act.
    #[tokio::test]
    async fn a_silent_api_server_ends_an_attempt_after_a_conflict_too() {
        let api = FakeApi::default();
        let mut lease = lease(&api);
        assert!(lease.attempt().await.unwrap());
        api.conflict_then_hang(LEASE);
        let begun = Instant::now();
        assert!(timeout(DEADLINE, lease.attempt()).await.unwrap().is_err());
        assert!(begun.elapsed() <= PATIENCE + Duration::from_secs(2));
    }
}
