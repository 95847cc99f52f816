//! Clients outside keep reaching a broker whose pod is made anew: in a roll, on another node, and
//! while nobody looks after it, for no operator runs or the cluster is paused.

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::core::v1::Pod;
use kind_e2e::{CREATE, GAP_ROLL, STEP, Scenario, Tool, scenario, yaml};

const POD: &str = "harbour-broker-2";

#[test]
#[ignore = "needs kind: cargo x kind test"]
fn outside_without_an_operator() {
    scenario("outside", async |s| {
        let (bootstrap, load) = s.harbour(6).await?;

        s.say("no operator runs");
        operators(s, 0)?;
        let none = async || Ok(s.operator_pods().await?.is_empty());
        s.eventually("the operator is gone", CREATE, none).await?;
        replaced(s).await?;
        load.in_sync("orders", 3).await?;
        s.produce_and_consume(&bootstrap, "visited")?;
        let file = s.kubectl(&["get", "configmap", "harbour-config", "-o", "yaml"])?;
        ensure!(file.contains("broker.rack="), "the files remember no rack: {file}");

        s.say("the cluster is paused");
        operators(s, 1)?;
        s.cluster_ready("harbour", 3).await?;
        s.patch("kafkacluster/harbour", r#"{"spec": {"paused": true}}"#)?;
        s.cluster_says("harbour", "paused").await?;
        replaced(s).await?;
        load.in_sync("orders", 3).await?;
        s.produce_and_consume(&bootstrap, "visited")?;
        load.more(500).await?;
        load.stop(GAP_ROLL).await?;
        Ok(())
    });
}

/// Every broker is made anew under a client outside, and then one goes to another node: its address
/// is another from then on, which clients hear of.
#[test]
#[ignore = "needs kind: cargo x kind test"]
fn rolled_and_rescheduled() {
    scenario("outside-rolled", async |s| {
        s.install_operator(&[]).await?;
        // Without volumes, which would hold a broker to its node.
        let sample = yaml::sample("nodeport.yaml")?;
        let cluster = sample.replace("    storage:\n      size: 10Gi\n", "");
        ensure!(cluster != sample, "the sample has no storage of that size any more");
        let topics = ["orders", "visited"].map(|name| yaml::topic(name, "harbour", 3, 3));
        s.apply(&yaml::documents(&[&cluster, &topics[0], &topics[1]]))?;
        s.cluster_ready("harbour", 3).await?;
        s.topic_ready("orders").await?;
        s.topic_ready("visited").await?;
        let bootstrap = s.addresses("harbour", "outside", 3).await?;
        let load = s.load_at(&bootstrap, "orders", 3).await?;

        let pods = s.broker_pods("harbour").await?;
        s.kubectl(&["annotate", "kafkacluster", "harbour", "barnabas.dev/restart=now"])?;
        let rolled = async || Ok(s.assert_rolled("harbour", &pods, true).await.is_ok());
        s.eventually("all brokers are made anew", STEP, rolled).await?;
        s.cluster_ready("harbour", 3).await?;
        s.produce_and_consume(&bootstrap, "visited")?;

        let node = s.node_of(POD)?;
        s.drain_node(&node, 120)?;
        let moved = async || Ok(![String::new(), node.clone()].contains(&s.node_of(POD)?));
        s.eventually("broker 2 is on another node", CREATE, moved).await?;
        load.in_sync("orders", 3).await?;
        s.cluster_ready("harbour", 3).await?;
        let now = s.addresses("harbour", "outside", 3).await?;
        let address = s.node_address(&node)?;
        ensure!(!now.contains(&format!("{address}:")), "{now}: nobody is on {node} any more");
        s.produce_and_consume(&now, "visited")?;
        load.more(500).await?;
        load.stop(GAP_ROLL).await?;
        Ok(())
    });
}

fn operators(s: &Scenario, count: u32) -> Result<()> {
    let replicas = format!("--replicas={count}");
    let what = ["scale", "deployment", "barnabas-operator", "--namespace", &s.home, &replicas];
    Tool::Kubectl.run(&what).map(drop)
}

/// Deletes the pod and waits for the one in its place to be ready.
async fn replaced(s: &Scenario) -> Result<()> {
    let before = s.uid::<Pod>(POD).await?.context("the pod is there")?;
    s.kubectl(&["delete", "pod", POD, "--wait=false"])?;
    let ready = async || {
        let now = s.uid::<Pod>(POD).await?;
        let ready = r#"jsonpath={.status.conditions[?(@.type=="Ready")].status}"#;
        Ok(match now.is_some_and(|uid| uid != before) {
            true => s.kubectl(&["get", "pod", POD, "-o", ready])? == "True",
            false => false,
        })
    };
    s.eventually("another pod is ready in its place", CREATE, ready).await
}
