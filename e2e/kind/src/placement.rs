//! Where things are: brokers that hold a topic, and whether an object is still the one it was.

use std::fmt::Debug;

use anyhow::{Context, Result};
use kube::ResourceExt;
use kube::core::{NamespaceResourceScope, Resource};
use serde::de::DeserializeOwned;

use crate::http::Target;
use crate::{Load, STEP, Scenario};

/// What a broker's metrics say of one that is.
const ACTIVE: &str = "barnabas_active_controller 1";

impl Load<'_> {
    /// Brokers that hold replicas of the topic, those included that are being added or removed.
    pub async fn hosts(&self, topic: &str) -> Result<Vec<i32>> {
        let partitions = self.topic(topic).await?;
        let mut hosts: Vec<i32> = partitions.into_iter().flat_map(|p| p.replicas).collect();
        hosts.sort_unstable();
        hosts.dedup();
        Ok(hosts)
    }
}

impl Scenario {
    /// Brokers that think of themselves as the active controller; those that do not answer do not.
    pub async fn active_controllers(&self, cluster: &str) -> Result<Vec<i32>> {
        let mut found = Vec::new();
        for pod in self.broker_pods(cluster).await?.keys() {
            let (client, namespace) = (&self.client, self.namespace.as_str());
            let port = u16::try_from(crd::HTTP_PORT)?;
            let metrics = Target { client, namespace, pod, port }.get("metrics").await;
            if metrics.is_ok_and(|text| text.lines().any(|line| line == ACTIVE)) {
                let id = pod.rsplit('-').next().context("a pod has an ordinal")?;
                found.push(id.parse()?);
            }
        }
        Ok(found)
    }

    /// The one that does.
    pub async fn active_controller(&self, cluster: &str) -> Result<i32> {
        let mut one = None;
        let look = async || {
            let active = self.active_controllers(cluster).await?;
            one = active.first().copied().filter(|_| active.len() == 1);
            Ok(one.is_some())
        };
        self.eventually("one broker is the active controller", STEP, look).await?;
        one.context("found above")
    }

    /// Waits until the broker is in sync for no partition of the topic `orders`.
    pub async fn out_of_sync(&self, load: &Load<'_>, broker: i32) -> Result<()> {
        let down = async || {
            let partitions = load.topic("orders").await?;
            Ok(!partitions.iter().any(|partition| partition.isr.contains(&broker)))
        };
        self.eventually(&format!("broker {broker} is out of every ISR"), STEP, down).await
    }

    /// Waits until the topic is on these brokers, and no others.
    pub async fn spread_over(&self, load: &Load<'_>, topic: &str, brokers: &[i32]) -> Result<()> {
        let what = format!("{topic} is on {brokers:?}");
        self.eventually(&what, STEP, async || Ok(load.hosts(topic).await? == brokers)).await
    }

    /// The UID of an object, if there is one: another UID is another object of the same name.
    pub async fn uid<K>(&self, name: &str) -> Result<Option<String>>
    where
        K: Resource<Scope = NamespaceResourceScope> + Clone + Debug + DeserializeOwned,
        K::DynamicType: Default,
    {
        Ok(self.api::<K>().get_opt(name).await?.and_then(|object| object.uid()))
    }
}
