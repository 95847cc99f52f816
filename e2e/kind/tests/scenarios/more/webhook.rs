//! A policy of Kubernetes that changes what the operator writes.

use std::time::Duration;

use anyhow::{Result, ensure};
use kind_e2e::{GAP_ROLL, Scenario, scenario};

use super::shrink::SLOW;

/// A webhook changes the StatefulSet each time that it is written. The operator writes it once,
/// says so, and goes on with everything else.
#[test]
#[ignore = "needs kind: cargo x kind test"]
fn no_write_loop() {
    scenario("webhook", async |s| {
        let load = s.castle(4, SLOW).await?;
        load.more(1000).await?;
        s.mutate_stateful_sets().await?;
        s.allow_warning("the API server keeps it otherwise than it was applied");
        // The operator's own value is another.
        ensure!(seconds(s)? != "47");
        s.patch("kafkacluster/castle", r#"{"spec": {"config": {"log.retention.ms": 7200000}}}"#)?;
        s.kubectl(&["annotate", "kafkacluster", "castle", "barnabas.dev/restart=now"])?;
        s.cluster_says("castle", "something changes what the operator writes").await?;
        s.cluster_ready("castle", 4).await?;
        ensure!(seconds(s)? == "47", "the webhook had no say");
        s.assert_quiet(Duration::from_secs(60)).await?;

        s.say("a drain with moves goes on all the same");
        s.scale("castle", 3)?;
        s.cluster_ready("castle", 3).await?;
        s.spread_over(&load, "orders", &[0, 1, 2]).await?;
        s.assert_quiet(Duration::from_secs(30)).await?;
        load.stop(GAP_ROLL).await?;
        Ok(())
    });
}

fn seconds(s: &Scenario) -> Result<String> {
    let path = "jsonpath={.spec.template.spec.terminationGracePeriodSeconds}";
    s.kubectl(&["get", "statefulset", "castle-broker", "-o", path])
}
