//! The life of a Topic, with every edit that cannot work and the way back from it.

use anyhow::{Result, ensure};
use crd::Topic;
use kind_e2e::{CREATE, Scenario, scenario, yaml};

/// What the API server itself refuses, with words that a user understands.
fn refused_at_apply(s: &Scenario) -> Result<()> {
    let fewer = yaml::topic("orders", "castle", 1, 3);
    let renamed = yaml::topic("orders", "castle", 6, 3) + "  topicName: other\n";
    let moved = yaml::topic("orders", "tower", 6, 3);
    let unknown = yaml::topic("orders", "castle", 6, 3) + "  partitons: 7\n";
    let name = yaml::topic("strange", "castle", 3, 3) + "  topicName: \"a b\"\n";
    for (edit, part) in [
        (fewer, "cannot be reduced"),
        (renamed, "renamed"),
        (moved, "another cluster"),
        (unknown, "partitons"),
        (name, "topicName"),
    ] {
        let said = s.refused(&edit)?;
        ensure!(said.contains(part), "\"{part}\" is not in: {said}");
    }
    Ok(())
}

#[test]
#[ignore = "needs kind: cargo x kind test"]
fn topics() {
    scenario("topics", async |s| {
        let load = s.castle(3, "").await?;
        refused_at_apply(s)?;

        s.say("more partitions, and a config");
        s.patch(
            "topic/orders",
            r#"{"spec": {"partitions": 8, "config": {"retention.ms": 60000}}}"#,
        )?;
        s.topic_ready("orders").await?;
        ensure!(load.topic("orders").await?.len() == 8);

        s.say("a value that no topic takes, and back");
        s.patch("topic/orders", r#"{"spec": {"config": {"retention.ms": "soon"}}}"#)?;
        s.topic_fails("orders", crd::topic_reason::INVALID_CONFIG).await?;
        s.patch("topic/orders", r#"{"spec": {"config": {"retention.ms": 3600000}}}"#)?;
        s.topic_ready("orders").await?;

        s.say("more replicas than brokers, and back");
        s.patch("topic/orders", r#"{"spec": {"replicationFactor": 4}}"#)?;
        s.topic_fails("orders", crd::topic_reason::INVALID_REPLICATION_FACTOR).await?;
        s.patch("topic/orders", r#"{"spec": {"replicationFactor": 2}}"#)?;
        load.in_sync("orders", 2).await?;
        s.patch("topic/orders", r#"{"spec": {"replicationFactor": 3}}"#)?;
        load.in_sync("orders", 3).await?;
        s.topic_ready("orders").await?;

        s.say("two resources for one topic: the older wins");
        let rival = yaml::topic("rival", "castle", 8, 3) + "  topicName: orders\n";
        s.apply(&rival)?;
        s.topic_fails("rival", crd::topic_reason::CONFLICT).await?;
        s.topic_ready("orders").await?;
        s.kubectl(&["delete", "topic", "rival", "--timeout=60s"])?;
        ensure!(load.topic("orders").await?.len() == 8, "the loser's deletion took the topic");
        let report = load.end().await?;
        report.safe()
    });
}

/// Deletion takes the data only where it was asked to, and what was retained is adopted.
#[test]
#[ignore = "needs kind: cargo x kind test"]
fn deletion() {
    scenario("topic-deletion", async |s| {
        let load = s.castle(3, "").await?;
        let kept = yaml::topic("kept", "castle", 2, 3);
        let passing = yaml::topic("passing", "castle", 2, 3) + "  deletionPolicy: Delete\n";
        s.apply(&yaml::documents(&[&kept, &passing]))?;
        let id = s.topic_ready("kept").await?.status.and_then(|status| status.topic_id);
        s.topic_ready("passing").await?;

        s.kubectl(&["delete", "topic", "kept", "passing", "--timeout=60s"])?;
        s.gone::<Topic>("passing", CREATE).await?;
        ensure!(load.topic("passing").await.is_err(), "its policy is Delete");
        ensure!(load.topic("kept").await?.len() == 2, "its policy is Retain");

        s.apply(&kept)?;
        let again = s.topic_ready("kept").await?.status.and_then(|status| status.topic_id);
        ensure!(id.is_some() && id == again, "{id:?} became {again:?}");
        load.end().await?.safe()
    });
}
