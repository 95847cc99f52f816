//! The metadata quorum grows while the cluster works.

use anyhow::{Context, ensure};
use kind_e2e::{GAP_KILLED, scenario};

#[test]
#[ignore = "needs kind: cargo x kind test"]
fn one_to_three() {
    scenario("voters", async |s| {
        let load = s.castle(3, "  controllers:\n    replicas: 1\n").await?;
        s.patch("kafkacluster/castle", r#"{"spec": {"controllers": {"replicas": 3}}}"#)?;
        let cluster = s.cluster_ready("castle", 3).await?;
        let mut voters = cluster.status.context("a cluster that is ready has a status")?.voters;
        voters.sort_unstable();
        ensure!(voters == [0, 1, 2], "{voters:?}");
        s.kill_pod("castle-broker-0")?;
        load.more(1000).await?;
        load.stop(GAP_KILLED).await?;
        Ok(())
    });
}
