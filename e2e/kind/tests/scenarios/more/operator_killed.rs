//! An operator that dies in the middle: the next one sees where things stand and goes on.

use anyhow::ensure;
use crd::Phase;
use kind_e2e::{GAP_ROLL, scenario};

use super::shrink::SLOW;

#[test]
#[ignore = "needs kind: cargo x kind test"]
fn in_a_roll() {
    scenario("killed-in-a-roll", async |s| {
        let load = s.castle(3, "").await?;
        let pods = s.broker_pods("castle").await?;
        s.kubectl(&["annotate", "kafkacluster", "castle", "barnabas.dev/restart=now"])?;
        s.cluster_in("castle", Phase::Rolling).await?;
        s.kill_operator().await?;
        let all_new = async || {
            let now = s.broker_pods("castle").await?;
            Ok(now.len() == 3 && pods.iter().all(|(pod, uid)| now.get(pod) != Some(uid)))
        };
        s.eventually("all brokers are replaced", kind_e2e::STEP, all_new).await?;
        s.cluster_ready("castle", 3).await?;
        load.stop(GAP_ROLL).await?;
        Ok(())
    });
}

#[test]
#[ignore = "needs kind: cargo x kind test"]
fn in_a_drain() {
    scenario("killed-in-a-drain", async |s| {
        let load = s.castle(4, SLOW).await?;
        load.more(3000).await?;
        s.scale("castle", 3)?;
        s.cluster_says("castle", "draining").await?;
        s.kill_operator().await?;
        let hosts = load.hosts("orders").await?;
        ensure!(hosts.contains(&3), "the drain was over before the operator died: {hosts:?}");
        s.cluster_ready("castle", 3).await?;
        s.spread_over(&load, "orders", &[0, 1, 2]).await?;
        load.stop(GAP_ROLL).await?;
        Ok(())
    });
}
