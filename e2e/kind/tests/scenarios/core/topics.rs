//! The life of a Topic: made, changed, contested, deleted, adopted.

use anyhow::{Result, ensure};
use crd::EntityReason::{AdoptionDiffers, Conflict, NotSupported};
use crd::Topic;
use kind_e2e::{CREATE, GAP_ROLL, Load, Scenario, scenario, yaml};

use super::topic_edits::{refused_at_apply, refused_by_condition};

#[test]
#[ignore = "needs kind: cargo x kind test"]
fn topics() {
    scenario("topics", async |s| {
        let load = s.castle(3, "").await?;
        refused_at_apply(s)?;

        s.say("more partitions, and a config");
        let more = r#"{"spec": {"partitions": 8, "config": {"retention.ms": 60000}}}"#;
        s.patch("topic/orders", more)?;
        s.topic_ready("orders").await?;
        has_partitions(s, &load, "orders", 8).await?;

        refused_by_condition(s, &load).await?;
        rivals(s, &load).await?;
        load.stop(GAP_ROLL).await?;
        Ok(())
    });
}

/// Two resources for one topic: the older has it, and when that goes the younger takes over.
async fn rivals(s: &Scenario, load: &Load<'_>) -> Result<()> {
    let id = topic_id(s, "orders").await?;
    s.say("two resources for one topic: the older wins");
    let rival = |name: &str| yaml::topic(name, "castle", 8, 3) + "  topicName: orders\n";
    s.apply(&(rival("rival") + "  deletionPolicy: Delete\n"))?;
    s.topic_fails("rival", Conflict.name()).await?;
    s.topic_ready("orders").await?;
    s.kubectl(&["delete", "topic", "rival", "--timeout=60s"])?;

    s.say("the older goes: the younger takes over");
    s.apply(&rival("heir"))?;
    s.topic_fails("heir", Conflict.name()).await?;
    s.kubectl(&["delete", "topic", "orders", "--timeout=60s"])?;
    s.say("it does not have the config: the topic is left as it is until that is asked for");
    s.topic_fails("heir", AdoptionDiffers.name()).await?;
    s.kubectl(&["annotate", "topic", "heir", "barnabas.dev/adopt=true"])?;
    let heir = topic_id(s, "heir").await?;
    ensure!(heir == id, "{id} was deleted and made again as {heir}");
    has_partitions(s, load, "orders", 8).await
}

/// Deletion takes the data only where it was asked to, and what was retained is adopted.
#[test]
#[ignore = "needs kind: cargo x kind test"]
fn deletion() {
    scenario("topic-deletion", async |s| {
        let load = s.castle(3, "").await?;
        let kept = |partitions| yaml::topic("kept", "castle", partitions, 3);
        let passing = yaml::topic("passing", "castle", 2, 3) + "  deletionPolicy: Delete\n";
        s.apply(&yaml::documents(&[&kept(2), &passing]))?;
        let id = topic_id(s, "kept").await?;
        s.topic_ready("passing").await?;

        s.kubectl(&["delete", "topic", "kept", "passing", "--timeout=60s"])?;
        s.gone::<Topic>("passing", CREATE).await?;
        is_unknown(s, &load, "passing").await?;
        has_partitions(s, &load, "kept", 2).await?;

        s.say("adopted, but never with fewer partitions");
        s.apply(&kept(1))?;
        s.topic_fails("kept", NotSupported.name()).await?;
        s.apply(&kept(2))?;
        let again = topic_id(s, "kept").await?;
        ensure!(id == again, "{id} was deleted and made again as {again}");
        load.stop(GAP_ROLL).await?;
        Ok(())
    });
}

/// Kafka's id of a Topic, once that is ready.
async fn topic_id(s: &Scenario, name: &str) -> Result<String> {
    let status = s.topic_ready(name).await?.status;
    let id = status.and_then(|status| status.topic_id);
    id.ok_or_else(|| anyhow::anyhow!("{name} is ready and has no id"))
}

// Any broker may answer a client, and its view may lag.

async fn has_partitions(s: &Scenario, load: &Load<'_>, topic: &str, count: usize) -> Result<()> {
    let look = async || Ok(load.topic(topic).await?.len() == count);
    s.eventually(&format!("{topic} has {count} partitions"), CREATE, look).await
}

/// Until clients are told that there is no such topic, which is not any other failure to ask.
async fn is_unknown(s: &Scenario, load: &Load<'_>, topic: &str) -> Result<()> {
    let look = async || match load.topic(topic).await {
        Ok(_) => Ok(false),
        Err(error) if format!("{error:#}").contains("UNKNOWN_TOPIC_OR_PARTITION") => Ok(true),
        Err(error) => Err(error),
    };
    s.eventually(&format!("{topic} is unknown"), CREATE, look).await
}
