//! Every edit of a Topic that cannot work: what the API server refuses by itself, and what becomes
//! a condition since it depends on the brokers, with the way back from it.

use anyhow::{Result, ensure};
use crd::EntityReason::{InvalidConfig, InvalidReplicationFactor, WaitingForCluster};
use kind_e2e::{Load, Scenario, yaml};

/// What the API server itself refuses, with words that a user understands. `orders` is there with
/// six partitions.
pub fn refused_at_apply(s: &Scenario) -> Result<()> {
    let orders = |partitions, more: &str| yaml::topic("orders", "castle", partitions, 3) + more;
    let strange = |more: &str| yaml::topic("strange", "castle", 3, 3) + more;
    let reserved = "  config:\n    leader.replication.throttled.replicas: \"*\"\n";
    for (edit, part) in [
        (orders(1, ""), "cannot be reduced"),
        (orders(6, "  topicName: other\n"), "cannot be renamed"),
        (yaml::topic("orders", "tower", 6, 3), "another cluster"),
        (orders(6, "  partitons: 7\n"), "partitons"),
        (strange("  topicName: \"a b\"\n"), "topicName"),
        (strange("  topicName: \".\"\n"), "cannot be named '.' or '..'"),
        (strange("  topicName: __consumer_offsets\n"), "internal"),
        (yaml::topic("strange", "castle", 0, 3), "spec.partitions"),
        (yaml::topic("strange", "castle", 3, 0), "spec.replicationFactor"),
        (strange("  deletionPolicy: Never\n"), "spec.deletionPolicy"),
        (strange(reserved), "is set by the operator while partitions move"),
    ] {
        let said = s.refused(&edit)?;
        ensure!(said.contains(part), "\"{part}\" is not in: {said}");
    }
    Ok(())
}

/// What only the brokers' side can judge.
pub async fn refused_by_condition(s: &Scenario, load: &Load<'_>) -> Result<()> {
    s.say("a value that no topic takes, and back");
    s.patch("topic/orders", r#"{"spec": {"config": {"retention.ms": "soon"}}}"#)?;
    s.topic_fails("orders", InvalidConfig.name()).await?;
    s.patch("topic/orders", r#"{"spec": {"config": {"retention.ms": 3600000}}}"#)?;
    s.topic_ready("orders").await?;

    s.say("a key that no topic has, and back");
    s.patch("topic/orders", r#"{"spec": {"config": {"retention.secs": 3600}}}"#)?;
    s.topic_fails("orders", InvalidConfig.name()).await?;
    s.patch("topic/orders", r#"{"spec": {"config": {"retention.secs": null}}}"#)?;
    s.topic_ready("orders").await?;

    s.say("more replicas than brokers, and back");
    s.patch("topic/orders", r#"{"spec": {"replicationFactor": 4}}"#)?;
    s.topic_fails("orders", InvalidReplicationFactor.name()).await?;
    s.patch("topic/orders", r#"{"spec": {"replicationFactor": 2}}"#)?;
    load.in_sync("orders", 2).await?;
    s.patch("topic/orders", r#"{"spec": {"replicationFactor": 3}}"#)?;
    load.in_sync("orders", 3).await?;
    s.topic_ready("orders").await?;

    s.say("a cluster that does not exist");
    s.apply(&yaml::topic("lonely", "nowhere", 3, 3))?;
    s.topic_fails("lonely", WaitingForCluster.name()).await?;
    s.kubectl(&["delete", "topic", "lonely", "--timeout=60s"])?;
    Ok(())
}
