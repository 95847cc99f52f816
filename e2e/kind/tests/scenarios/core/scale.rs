//! More brokers and fewer again, by the same command that an autoscaler uses.

use anyhow::ensure;
use kind_e2e::{GAP_ROLL, SCALED, STEP, scenario};

#[test]
#[ignore = "needs kind: cargo x kind test"]
fn scale() {
    scenario("scale", async |s| {
        let load = s.castle(3, "").await?;
        let first = s.broker_pods("castle").await?;

        s.scale("castle", 5)?;
        s.cluster_ready_within("castle", 5, SCALED).await?;
        s.spread_over(&load, "orders", &[0, 1, 2, 3, 4]).await?;
        ensure!(s.volumes("castle").await?.len() == 5);

        s.scale("castle", 3)?;
        s.cluster_ready_within("castle", 3, SCALED).await?;
        s.spread_over(&load, "orders", &[0, 1, 2]).await?;
        // The policy of the volumes is Delete, and nobody else was touched.
        let volumes_left = async || Ok(s.volumes("castle").await?.len() == 3);
        s.eventually("three volumes are left", STEP, volumes_left).await?;
        s.assert_rolled("castle", &first, false).await?;
        load.stop(GAP_ROLL).await?;
        Ok(())
    });
}
