//! Waiting for what must come true, with a bound and with what was last seen as the complaint.

use std::fmt::Debug;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use crd::{KafkaCluster, Phase, Topic, find_condition, kind};
use kube::core::{NamespaceResourceScope, Resource};
use kube::runtime::wait::await_condition;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::Scenario;

/// A new cluster of three brokers, volumes included, where something else is being waited for.
pub const CREATE: Duration = Duration::from_secs(180);
/// A step of which nobody has published how long it takes.
pub const STEP: Duration = Duration::from_secs(300);

// What the README's table has, and three times as much is still taken here: a machine of two cores
// runs the brokers, Kubernetes and the client, and is not as fast in every hour.

/// From nothing to three brokers that are ready.
pub const CREATED: Duration = thrice(13_000);
/// Five brokers out of three, with replicas on all of them; and back.
pub const SCALED: Duration = thrice(19_000);
/// Three brokers restarted one after the other.
pub const ROLLED: Duration = thrice(29_000);
/// The longest that a partition goes without an acknowledgement while brokers are restarted as
/// planned: leaders are handed off, so this is a client's refresh of its metadata.
pub const GAP_ROLL: Duration = thrice(200);
/// The longest while brokers come, go and grow, and none is restarted.
pub const GAP_CALM: Duration = thrice(100);
/// The longest where the process of a leader is killed on a machine that lives on.
pub const GAP_KILLED: Duration = thrice(218);
/// The longest where a machine is lost without a word: until its broker is fenced, which takes its
/// session's time, and clients have found the new leader.
pub const GAP_LOSS: Duration = thrice(3_200);

const fn thrice(published_ms: u64) -> Duration {
    Duration::from_millis(3 * published_ms)
}

/// Between two looks at what cannot be watched.
const LOOK: Duration = Duration::from_millis(500);

impl Scenario {
    /// Watches an object of the scenario's namespace until it is so. An absent object is none.
    pub async fn until<K>(
        &self,
        name: &str,
        what: &str,
        limit: Duration,
        holds: impl Fn(Option<&K>) -> bool,
    ) -> Result<Option<K>>
    where
        K: Resource<Scope = NamespaceResourceScope>,
        K: Clone + Debug + Serialize + DeserializeOwned + Send + 'static,
        K::DynamicType: Default,
    {
        let api = self.api::<K>();
        let start = Instant::now();
        let mut broken = None;
        let watch = async {
            loop {
                match await_condition(api.clone(), name, &holds).await {
                    Ok(found) => return found,
                    // An API server that is busy or restarts ends watches, and this goes by.
                    Err(error) => broken = Some(error),
                }
                tokio::time::sleep(LOOK).await;
            }
        };
        if let Ok(found) = tokio::time::timeout(limit, watch).await {
            self.say(format!("{name}: {what} after {:.1?}", start.elapsed()));
            return Ok(found);
        }
        let broken = broken.map(|error| format!("; a watch failed: {error}")).unwrap_or_default();
        let last = match api.get_opt(name).await {
            Ok(last) => serde_yaml::to_string(&last)?,
            Err(error) => error.to_string(),
        };
        bail!("{name}: not {what} after {limit:?}{broken}; it is:\n{last}")
    }

    /// Looks again and again until it is so: for what is not a Kubernetes object.
    pub async fn eventually(
        &self,
        what: &str,
        limit: Duration,
        mut look: impl AsyncFnMut() -> Result<bool>,
    ) -> Result<()> {
        let start = Instant::now();
        let mut last = None;
        while start.elapsed() < limit {
            match look().await {
                Ok(true) => {
                    self.say(format!("{what} after {:.1?}", start.elapsed()));
                    return Ok(());
                }
                Ok(false) => last = None,
                Err(error) => last = Some(error),
            }
            tokio::time::sleep(LOOK).await;
        }
        let last = last.unwrap_or_else(|| anyhow!("it is not so"));
        Err(last.context(format!("not {what} after {limit:?}")))
    }

    /// Does again what may fail for a moment, such as a request by way of a busy API server.
    pub async fn retried<T>(
        &self,
        what: &str,
        limit: Duration,
        mut act: impl AsyncFnMut() -> Result<T>,
    ) -> Result<T> {
        let start = Instant::now();
        loop {
            match act().await {
                Ok(done) => return Ok(done),
                Err(error) if start.elapsed() >= limit => {
                    return Err(error.context(format!("{what}: not within {limit:?}")));
                }
                Err(_) => tokio::time::sleep(LOOK).await,
            }
        }
    }

    /// Until the cluster has as many brokers as its spec says, which must be this many, and
    /// nothing is left to do for the spec as it is now.
    pub async fn cluster_ready(&self, name: &str, brokers: i32) -> Result<KafkaCluster> {
        self.cluster_ready_within(name, brokers, CREATE.max(STEP)).await
    }

    pub async fn cluster_ready_within(
        &self,
        name: &str,
        brokers: i32,
        limit: Duration,
    ) -> Result<KafkaCluster> {
        let what = format!("ready with {brokers} brokers");
        let found = self.until(name, &what, limit, |cluster| is_settled(cluster, brokers)).await?;
        found.context("a cluster that is ready exists")
    }

    /// Until the cluster's message contains this.
    pub async fn cluster_says(&self, name: &str, part: &str) -> Result<KafkaCluster> {
        let says = |cluster: Option<&KafkaCluster>| {
            let status = cluster.and_then(|cluster| cluster.status.as_ref());
            let message = status.and_then(|status| status.message.as_deref());
            message.is_some_and(|message| message.contains(part))
        };
        let found = self.until(name, &format!("saying \"{part}\""), STEP, says).await?;
        found.context("a cluster that says something exists")
    }

    /// Until the cluster is in this phase.
    pub async fn cluster_in(&self, name: &str, phase: Phase) -> Result<KafkaCluster> {
        let is_in = |cluster: Option<&KafkaCluster>| {
            let status = cluster.and_then(|cluster| cluster.status.as_ref());
            status.is_some_and(|status| status.phase == Some(phase))
        };
        let found = self.until(name, &format!("in phase {phase}"), STEP, is_in).await?;
        found.context("a cluster in a phase exists")
    }

    /// Until a listener has an address for each of so many brokers; its bootstrap servers.
    pub async fn addresses(&self, cluster: &str, listener: &str, brokers: usize) -> Result<String> {
        let servers = |cluster: Option<&KafkaCluster>| {
            let status = cluster?.status.as_ref()?;
            let listener = status.listeners.iter().find(|l| l.name == listener)?;
            let servers = listener.bootstrap_servers.clone()?;
            (listener.addresses.len() == brokers && !servers.is_empty()).then_some(servers)
        };
        let what = format!("known by {brokers} addresses");
        let found = self.until(cluster, &what, STEP, |cluster| servers(cluster).is_some()).await?;
        servers(found.as_ref()).context("a cluster that has addresses exists")
    }

    /// Until a Topic is ready for its spec as it is now.
    pub async fn topic_ready(&self, name: &str) -> Result<Topic> {
        let found =
            self.until(name, "ready", CREATE, |topic| topic_is(topic, "True", None)).await?;
        found.context("a topic that is ready exists")
    }

    /// Until a Topic is not ready, for this reason.
    pub async fn topic_fails(&self, name: &str, reason: &str) -> Result<Topic> {
        let what = format!("refused with {reason}");
        let fails = |topic: Option<&Topic>| topic_is(topic, "False", Some(reason));
        let found = self.until(name, &what, STEP, fails).await?;
        found.context("a topic that fails exists")
    }

    /// Until an object of this kind is gone.
    pub async fn gone<K>(&self, name: &str, limit: Duration) -> Result<()>
    where
        K: Resource<Scope = NamespaceResourceScope>,
        K: Clone + Debug + Serialize + DeserializeOwned + Send + 'static,
        K::DynamicType: Default,
    {
        self.until(name, "gone", limit, |object: Option<&K>| object.is_none()).await.map(drop)
    }
}

fn is_settled(cluster: Option<&KafkaCluster>, brokers: i32) -> bool {
    let Some(cluster) = cluster else { return false };
    let Some(status) = &cluster.status else { return false };
    let ready = find_condition(&status.conditions, kind::READY);
    let generation = cluster.metadata.generation;
    cluster.spec.brokers.replicas == brokers
        && status.observed_generation == generation
        && status.phase == Some(Phase::Ready)
        && status.ready_replicas == Some(brokers)
        && status.replicas == Some(brokers)
        && ready.is_some_and(|c| c.status == "True" && c.observed_generation == generation)
}

fn topic_is(topic: Option<&Topic>, status: &str, reason: Option<&str>) -> bool {
    let Some(topic) = topic else { return false };
    let Some(known) = &topic.status else { return false };
    let ready = find_condition(&known.conditions, kind::READY);
    known.observed_generation == topic.metadata.generation
        && ready.is_some_and(|c| c.status == status && reason.is_none_or(|r| c.reason == r))
}
