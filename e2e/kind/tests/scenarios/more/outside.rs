//! Clients outside keep reaching a broker whose pod is made anew while nobody looks after it: no
//! operator runs, or the cluster is paused.

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::core::v1::Pod;
use kind_e2e::{CREATE, GAP_ROLL, Scenario, Tool, scenario};

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
