//! Fewer brokers than topics need, and a change of mind half-way.

use anyhow::ensure;
use crd::Phase;
use kind_e2e::{GAP_ROLL, STEP, scenario, yaml};

/// Refused with the reason while the rest goes on, and done as soon as it can be.
#[test]
#[ignore = "needs kind: cargo x kind test"]
fn refused_then_allowed() {
    scenario("shrink-refused", async |s| {
        let load = s.castle(4, "").await?;
        s.apply(&yaml::topic("wide", "castle", 2, 4))?;
        s.topic_ready("wide").await?;
        s.scale("castle", 3)?;
        s.cluster_says("castle", "too few for the replication factor of topics wide (4)").await?;

        s.say("a restart meanwhile");
        let pods = s.broker_pods("castle").await?;
        s.kubectl(&["annotate", "kafkacluster", "castle", "barnabas.dev/restart=now"])?;
        let all_new = async || {
            let now = s.broker_pods("castle").await?;
            Ok(now.len() == 4 && pods.iter().all(|(pod, uid)| now.get(pod) != Some(uid)))
        };
        s.eventually("all brokers are replaced", STEP, all_new).await?;

        s.patch("topic/wide", r#"{"spec": {"replicationFactor": 3}}"#)?;
        s.cluster_ready("castle", 3).await?;
        s.topic_ready("wide").await?;
        load.stop(GAP_ROLL).await?;
        Ok(())
    });
}

/// A drain that is taken back: moves end, the brokers stay and take replicas again.
#[test]
#[ignore = "needs kind: cargo x kind test"]
fn cancelled() {
    scenario("drain-cancelled", async |s| {
        // Slow enough that the change of mind comes in time.
        let slow = "  rebalance:\n    throttleBytesPerSecond: 20000\n    maxMovesPerBroker: 1\n";
        let load = s.castle(4, slow).await?;
        load.more(5000).await?;
        let pods = s.broker_pods("castle").await?;
        s.scale("castle", 3)?;
        s.cluster_in("castle", Phase::ScalingDown).await?;
        s.cluster_says("castle", "draining").await?;
        s.scale("castle", 4)?;
        s.cluster_ready("castle", 4).await?;
        s.assert_rolled("castle", &pods, false).await?;
        let cordoned = load.config(3, "cordoned.log.dirs").await.unwrap_or_default();
        ensure!(cordoned.is_empty(), "broker 3 is still cordoned: {cordoned}");
        load.stop(GAP_ROLL).await?;
        Ok(())
    });
}
