//! What the brokers say over Kafka's protocol.

use std::collections::BTreeSet;

use plan::{MoveView, PartitionView, QuorumView};

use crate::kafka::Admin;

/// Config of a topic that moves set, by its two names.
pub const THROTTLED_REPLICAS: [&str; 2] =
    ["leader.replication.throttled.replicas", "follower.replication.throttled.replicas"];

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

/// All moves in flight.
pub async fn moves(admin: &Admin) -> Option<Vec<MoveView>> {
    admin.list_reassignments().await.inspect_err(|error| tracing::debug!(%error, "moves")).ok()
}

pub async fn partitions(admin: &Admin) -> Result<Vec<PartitionView>, String> {
    admin.partitions().await.map_err(|error| error.to_string())
}

/// Topics with lists of throttled replicas.
pub async fn throttled_topics(admin: &Admin) -> Result<Vec<String>, String> {
    let topics = admin.all_topics().await.map_err(|error| error.to_string())?;
    let names: Vec<String> = topics.into_keys().collect();
    let configs = admin.topic_configs(&names).await.map_err(|error| error.to_string())?;
    let mut throttled = BTreeSet::new();
    for (topic, config) in configs {
        let config = config.map_err(|refused| format!("configs of {topic}: {refused}"))?;
        if THROTTLED_REPLICAS.iter().any(|key| config.contains_key(*key)) {
            throttled.insert(topic);
        }
    }
    Ok(throttled.into_iter().collect())
}
