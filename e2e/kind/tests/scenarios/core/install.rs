//! From nothing: the chart, the samples as they are, clients inside and outside the cluster.

use std::time::Duration;

use anyhow::{Context, ensure};
use kind_e2e::{CREATED, GAP_ROLL, scenario, yaml};

/// What a user who follows the README does.
#[test]
#[ignore = "needs kind: cargo x kind test"]
fn install() {
    scenario("install", async |s| {
        s.install_operator(&[]).await?;
        for name in ["cluster.yaml", "topics.yaml"] {
            s.apply(&yaml::sample(name)?)?;
        }
        s.cluster_ready_within("castle", 3, CREATED).await?;
        let messages = s.topic_ready("messages").await?.status.context("status")?;
        ensure!(messages.topic_id.is_some() && messages.partitions == Some(6), "{messages:?}");
        let telemetry = s.topic_ready("telemetry").await?.status.context("status")?;
        ensure!(telemetry.topic_name.as_deref() == Some("castle.telemetry"), "{telemetry:?}");
        let load = s.load("castle", "messages", 6).await?;
        load.more(1000).await?;
        s.assert_quiet(Duration::from_secs(60)).await?;
        s.helm_test()?;
        load.more(500).await?;
        load.stop(GAP_ROLL).await?;
        Ok(())
    });
}

/// Clients outside Kubernetes connect to a node and are told addresses that they can reach. The
/// load takes the same way.
#[test]
#[ignore = "needs kind: cargo x kind test"]
fn node_port() {
    scenario("node-port", async |s| {
        let (bootstrap, load) = s.harbour(3).await?;
        s.produce_and_consume(&bootstrap, "visited")?;
        load.more(500).await?;
        load.stop(GAP_ROLL).await?;
        Ok(())
    });
}
