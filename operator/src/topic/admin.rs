//! What this controller asks of the brokers: a trait, so that tests can answer, late, partly or
//! not at all.

use std::collections::BTreeMap;

use base::{BrokerId, TopicPartition};
use metadata::config::CORDONED_LOG_DIRS;
use plan::moves::Move;
use plan::topics::TopicActual;

use crate::kafka::{
    Admin, BrokerInfo, ConfigChange, Created, ItemResult, NewTopic, Refused, Result,
};

/// What a broker has, where it matters who gets a replica.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct BrokerLoad {
    pub replicas: u64,
    /// It takes no new replicas; `None` where it did not say.
    pub cordoned: Option<bool>,
}

/// Requests about many topics at once. An outer error means that none of them is known to be
/// done; the inner ones speak of single topics.
pub trait TopicAdmin: Send + Sync + 'static {
    /// Uses these addresses from now on.
    fn aim(&self, bootstrap: &[String]) -> impl Future<Output = ()> + Send;
    /// Registered brokers, fenced ones too.
    fn brokers(&self) -> impl Future<Output = Result<BTreeMap<BrokerId, BrokerInfo>>> + Send;
    /// Those of these topics that exist.
    fn describe(
        &self,
        names: &[String],
    ) -> impl Future<Output = Result<BTreeMap<String, ItemResult<TopicActual>>>> + Send;
    /// How full each broker is. Costs far more than the rest.
    fn loads(&self) -> impl Future<Output = Result<BTreeMap<BrokerId, BrokerLoad>>> + Send;
    fn create(
        &self,
        topics: &[NewTopic],
    ) -> impl Future<Output = Result<BTreeMap<String, ItemResult<Created>>>> + Send;
    /// Answers in the order of the changes.
    fn alter(
        &self,
        changes: &[ConfigChange],
    ) -> impl Future<Output = Result<Vec<ItemResult<()>>>> + Send;
    fn widen(
        &self,
        counts: &[(String, i32)],
    ) -> impl Future<Output = Result<BTreeMap<String, ItemResult<()>>>> + Send;
    fn reassign(
        &self,
        moves: &[Move],
    ) -> impl Future<Output = Result<BTreeMap<TopicPartition, ItemResult<()>>>> + Send;
    fn delete(
        &self,
        names: &[String],
    ) -> impl Future<Output = Result<BTreeMap<String, ItemResult<()>>>> + Send;
}

impl TopicAdmin for Admin {
    async fn aim(&self, bootstrap: &[String]) {
        self.set_bootstrap(bootstrap.to_vec()).await;
    }

    async fn brokers(&self) -> Result<BTreeMap<BrokerId, BrokerInfo>> {
        Ok(self.describe_cluster().await?.brokers)
    }

    async fn describe(
        &self,
        names: &[String],
    ) -> Result<BTreeMap<String, ItemResult<TopicActual>>> {
        // Before and after: a move that begins or ends meanwhile is seen by one of them.
        let mut moves = self.list_reassignments().await?;
        let (mut topics, configs) =
            tokio::try_join!(self.describe_topics(names), self.topic_configs(names))?;
        moves.extend(self.list_reassignments().await?);
        let mut all = BTreeMap::new();
        for (name, config) in configs {
            let Some(mut info) = topics.remove(&name) else { continue };
            crate::kafka::mark_moves(&mut info.partitions, &moves);
            let actual = config.map(|config| TopicActual {
                id: info.id,
                partitions: info.partitions,
                config,
            });
            all.insert(name, actual);
        }
        for name in topics.into_keys() {
            all.insert(name, Err(Refused::unanswered()));
        }
        Ok(all)
    }

    async fn loads(&self) -> Result<BTreeMap<BrokerId, BrokerLoad>> {
        let ids: Vec<BrokerId> = self.describe_cluster().await?.brokers.into_keys().collect();
        let (topics, configs) = tokio::join!(self.all_topics(), self.broker_configs_of(&ids));
        let mut loads: BTreeMap<BrokerId, BrokerLoad> =
            ids.into_iter().map(|id| (id, BrokerLoad::default())).collect();
        let partitions = topics?.into_values().flat_map(|topic| topic.partitions);
        for id in partitions.flat_map(|partition| partition.replicas) {
            loads.entry(id).or_default().replicas += 1;
        }
        for (id, configs) in configs {
            let cordoned = configs.ok().map(|configs| {
                let dirs = configs.get(CORDONED_LOG_DIRS).and_then(|c| c.value.as_deref());
                dirs.is_some_and(|dirs| !dirs.is_empty())
            });
            loads.entry(id).or_default().cordoned = cordoned;
        }
        Ok(loads)
    }

    async fn create(&self, topics: &[NewTopic]) -> Result<BTreeMap<String, ItemResult<Created>>> {
        self.create_topics(topics).await
    }

    async fn alter(&self, changes: &[ConfigChange]) -> Result<Vec<ItemResult<()>>> {
        self.alter_configs(changes, false).await
    }

    async fn widen(&self, counts: &[(String, i32)]) -> Result<BTreeMap<String, ItemResult<()>>> {
        self.create_partitions(counts).await
    }

    async fn reassign(&self, moves: &[Move]) -> Result<BTreeMap<TopicPartition, ItemResult<()>>> {
        Admin::reassign(self, moves).await
    }

    async fn delete(&self, names: &[String]) -> Result<BTreeMap<String, ItemResult<()>>> {
        self.delete_topics(names).await
    }
}
