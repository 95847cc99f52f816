//! From nothing: the chart, the samples as they are, clients inside and outside the cluster.

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use kind_e2e::{GAP_ROLL, LoadOptions, STEP, Scenario, scenario, yaml};

/// A sample as it stands in the repository.
fn sample(name: &str) -> Result<String> {
    let samples = concat!(env!("CARGO_MANIFEST_DIR"), "/../../manifests/samples");
    Ok(fs::read_to_string(format!("{samples}/{name}"))?)
}

/// What a user who follows the README does.
#[test]
#[ignore = "needs kind: cargo x kind test"]
fn install() {
    scenario("install", async |s| {
        s.install_operator(&[]).await?;
        for name in ["cluster.yaml", "topics.yaml"] {
            s.apply(&sample(name)?)?;
        }
        s.cluster_ready("castle", 3).await?;
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
        s.install_operator(&[]).await?;
        s.apply(&sample("nodeport.yaml")?)?;
        let visited = yaml::topic("visited", "harbour", 3, 3);
        s.apply(&yaml::documents(&[&yaml::topic("orders", "harbour", 3, 3), &visited]))?;
        s.cluster_ready("harbour", 3).await?;
        s.topic_ready("orders").await?;
        s.topic_ready("visited").await?;
        let bootstrap = addresses(s).await?;
        let (name, topic) = ("orders".to_owned(), "orders".to_owned());
        let options =
            LoadOptions { name, bootstrap: bootstrap.clone(), topic, partitions: 3, rate: 150 };
        let load = s.load_with(&options).await?;
        s.produce_and_consume(&bootstrap, "visited")?;
        load.more(500).await?;
        load.stop(GAP_ROLL).await?;
        Ok(())
    });
}

/// The bootstrap servers of the listener `outside`, once status knows one for each broker.
async fn addresses(s: &Scenario) -> Result<String> {
    let known = |cluster: Option<&crd::KafkaCluster>| outside(cluster).is_some();
    let cluster = s.until("harbour", "known by its addresses", STEP, known).await?;
    outside(cluster.as_ref()).context("known above")
}

fn outside(cluster: Option<&crd::KafkaCluster>) -> Option<String> {
    let status = cluster?.status.as_ref()?;
    let listener = status.listeners.iter().find(|listener| listener.name == "outside")?;
    let servers = listener.bootstrap_servers.clone()?;
    (listener.addresses.len() == 3 && !servers.is_empty()).then_some(servers)
}
