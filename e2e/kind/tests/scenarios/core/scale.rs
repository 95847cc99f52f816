//! More brokers and fewer again, by the same command that an autoscaler uses.

use anyhow::{Result, ensure};
use kind_e2e::{GAP_ROLL, Load, STEP, Scenario, scenario};

/// Brokers that hold replicas of the topic.
async fn hosts(load: &Load<'_>) -> Result<Vec<i32>> {
    let partitions = load.topic("orders").await?;
    let mut hosts: Vec<i32> = partitions.into_iter().flat_map(|p| p.replicas).collect();
    hosts.sort_unstable();
    hosts.dedup();
    Ok(hosts)
}

async fn spread_over(s: &Scenario, load: &Load<'_>, brokers: &[i32]) -> Result<()> {
    let what = format!("orders is on {brokers:?}");
    s.eventually(&what, STEP, async || Ok(hosts(load).await? == brokers)).await
}

#[test]
#[ignore = "needs kind: cargo x kind test"]
fn scale() {
    scenario("scale", async |s| {
        let load = s.castle(3, "").await?;
        let first = s.broker_pods("castle").await?;

        s.scale("castle", 5)?;
        s.cluster_ready("castle", 5).await?;
        spread_over(s, &load, &[0, 1, 2, 3, 4]).await?;
        ensure!(s.volumes("castle").await?.len() == 5);

        s.scale("castle", 3)?;
        s.cluster_ready("castle", 3).await?;
        spread_over(s, &load, &[0, 1, 2]).await?;
        // The policy of the volumes is Delete, and nobody else was touched.
        let volumes_left = async || Ok(s.volumes("castle").await?.len() == 3);
        s.eventually("three volumes are left", STEP, volumes_left).await?;
        s.assert_rolled("castle", &first, false).await?;
        load.stop(GAP_ROLL).await?;
        Ok(())
    });
}
