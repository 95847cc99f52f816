//! More room for the brokers' logs.

use anyhow::ensure;
use kind_e2e::{GAP_CALM, STEP, scenario, yaml};

const LARGER: &str = r#"{"spec": {"brokers": {"storage": {"size": "2Gi"}}}}"#;

/// Volumes grow under running brokers, and those of later brokers are as large from the start.
#[test]
#[ignore = "needs kind: cargo x kind test"]
fn grow() {
    scenario("volumes-grow", async |s| {
        let class = s.growing_class()?;
        let storage = format!("storage:\n      storageClass: {class}\n");
        let cluster = yaml::cluster("castle", 3).replace("storage:\n", &storage);
        let load = s.castle_of(3, &cluster).await?;
        let pods = s.broker_pods("castle").await?;

        s.patch("kafkacluster/castle", LARGER)?;
        s.grow_volumes(&s.volumes("castle").await?, "2Gi").await?;
        s.cluster_ready("castle", 3).await?;
        s.assert_rolled("castle", &pods, false).await?;

        s.scale("castle", 4)?;
        s.cluster_ready("castle", 4).await?;
        let size = "jsonpath={.spec.resources.requests.storage}";
        let fourth = s.kubectl(&["get", "pvc", "data-castle-broker-3", "-o", size])?;
        ensure!(fourth == "2Gi", "the new broker's volume has {fourth}");
        s.spread_over(&load, "orders", &[0, 1, 2, 3]).await?;
        load.stop(GAP_CALM).await?;
        Ok(())
    });
}

/// Where the class does not let volumes grow, status says so, and the cluster goes on as it is.
#[test]
#[ignore = "needs kind: cargo x kind test"]
fn refused() {
    scenario("volumes-fixed", async |s| {
        let load = s.castle(3, "").await?;
        let pods = s.broker_pods("castle").await?;
        s.patch("kafkacluster/castle", LARGER)?;
        s.cluster_says("castle", "does not have allowVolumeExpansion").await?;
        // Everything else is still done.
        s.apply(&yaml::topic("later", "castle", 2, 3))?;
        s.topic_ready("later").await?;
        s.scale("castle", 4)?;
        let four = async || Ok(s.broker_pods("castle").await?.len() == 4);
        s.eventually("a fourth broker is there", STEP, four).await?;
        s.spread_over(&load, "orders", &[0, 1, 2, 3]).await?;
        s.assert_rolled("castle", &pods, false).await?;
        load.stop(GAP_CALM).await?;
        Ok(())
    });
}
