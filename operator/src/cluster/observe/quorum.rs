//! What the brokers say over Kafka's protocol.

use std::collections::BTreeMap;

use base::{BrokerId, TopicPartition};
use plan::moves::THROTTLED_REPLICAS;
use plan::{LevelView, MoveView, PartitionView, QuorumView};

use crate::kafka::Admin;

/// The metadata quorum; `None` where it could not be asked.
pub async fn view(admin: &Admin) -> Option<QuorumView> {
    match admin.describe_quorum().await {
        Ok(quorum) => Some(quorum.view()),
        Err(error) => {
            tracing::debug!(%error, "the quorum is not known");
            None
        }
    }
}

/// The level of the metadata.
pub async fn level(admin: &Admin) -> Option<LevelView> {
    admin.level().await.inspect_err(|error| tracing::debug!(%error, "level")).ok().flatten()
}

/// All moves in flight.
pub async fn moves(admin: &Admin) -> Option<Vec<MoveView>> {
    admin.list_reassignments().await.inspect_err(|error| tracing::debug!(%error, "moves")).ok()
}

/// All partitions, with the bytes of those that these brokers store, as far as they tell.
pub async fn partitions(admin: &Admin, brokers: &[BrokerId]) -> Result<Vec<PartitionView>, String> {
    // Sizes may be some moments old; what is in sync must not.
    let bytes = bytes(admin, brokers).await;
    let mut all = admin.partitions().await.map_err(|error| error.to_string())?;
    for p in &mut all {
        p.bytes = bytes.get(&TopicPartition::new(&*p.topic, p.partition)).copied();
    }
    Ok(all)
}

async fn bytes(admin: &Admin, brokers: &[BrokerId]) -> BTreeMap<TopicPartition, u64> {
    let mut bytes: BTreeMap<TopicPartition, u64> = BTreeMap::new();
    for (broker, dirs) in admin.describe_log_dirs(brokers).await {
        let replicas = match dirs {
            Ok(dirs) => dirs.replicas,
            Err(error) => {
                tracing::debug!(%broker, %error, "what it stores is not known");
                continue;
            }
        };
        for (partition, size) in replicas {
            // A replica that is behind has less.
            let known = bytes.entry(partition).or_default();
            *known = size.max(*known);
        }
    }
    bytes
}

/// Topics with lists of throttled replicas.
pub async fn throttled_topics(admin: &Admin) -> Result<Vec<String>, String> {
    admin.topics_with(&THROTTLED_REPLICAS).await.map_err(|error| error.to_string())
}
