//! Where things are: brokers that hold a topic, and whether an object is still the one it was.

use std::fmt::Debug;

use anyhow::Result;
use kube::ResourceExt;
use kube::core::{NamespaceResourceScope, Resource};
use serde::de::DeserializeOwned;

use crate::{Load, STEP, Scenario};

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
