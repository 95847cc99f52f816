//! Fewer brokers than topics need, and a change of mind half-way.

use anyhow::ensure;
use crd::Phase;
use kind_e2e::{CREATE, GAP_ROLL, STEP, scenario, yaml};

/// A drain that takes long enough for something else to come between.
pub const SLOW: &str =
    "  rebalance:\n    throttleBytesPerSecond: 20000\n    maxMovesPerBroker: 1\n";

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
        let load = s.castle(4, SLOW).await?;
        load.more(5000).await?;
        let pods = s.broker_pods("castle").await?;
        s.scale("castle", 3)?;
        s.cluster_in("castle", Phase::ScalingDown).await?;
        s.cluster_says("castle", "draining").await?;
        let hosts = load.hosts("orders").await?;
        ensure!(hosts.contains(&3), "the drain was over before it was cancelled: {hosts:?}");
        s.scale("castle", 4)?;
        s.cluster_ready("castle", 4).await?;
        s.assert_rolled("castle", &pods, false).await?;
        // Broker 3 answers for itself, and its view may lag.
        let open = async || Ok(load.config(3, "cordoned.log.dirs").await?.is_empty());
        s.eventually("broker 3 is not cordoned", CREATE, open).await?;
        load.stop(GAP_ROLL).await?;
        Ok(())
    });
}
