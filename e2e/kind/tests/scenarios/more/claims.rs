//! Claims that somebody deletes under brokers that run, and clusters that are made again on the
//! volumes of an earlier one.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use crd::{KafkaCluster, find_condition, kind};
use k8s_openapi::api::core::v1::Pod;
use kind_e2e::{CREATE, GAP_ROLL, STEP, Scenario, scenario, yaml};

const EDIT: &str = r#"{"spec": {"config": {"broker.heartbeat.interval.ms": 1500}}}"#;
/// As long as an operator would long have begun.
const NOTHING: Duration = Duration::from_secs(30);

/// `kubectl delete pvc`, broken off, and later an edit that restarts brokers: a restart would make
/// the deletion happen, so that a broker with the only copy of anything is not restarted.
#[test]
#[ignore = "needs kind: cargo x kind test"]
fn deleted_then_an_edit() {
    scenario("claims-deleted", async |s| {
        let load = s.castle(3, "").await?;
        let only = "  config:\n    min.insync.replicas: 1\n";
        s.apply(&(yaml::topic("single", "castle", 3, 1) + only))?;
        s.topic_ready("single").await?;
        let single = s.load("castle", "single", 3).await?;
        let pods = s.broker_pods("castle").await?;
        let claims = s.volumes("castle").await?;
        for claim in &claims {
            s.kubectl(&["delete", "pvc", claim, "--wait=false"])?;
        }
        told_how_to_keep_them(s, &claims).await?;

        s.patch("kafkacluster/castle", EDIT)?;
        s.cluster_says("castle", "it has the only copy in sync of single").await?;
        tokio::time::sleep(NOTHING).await;
        s.assert_rolled("castle", &pods, false).await?;
        told_how_to_keep_them(s, &claims).await?;

        s.say("once all is on other brokers as well, the volumes may go");
        s.patch("topic/single", r#"{"spec": {"replicationFactor": 3}}"#)?;
        s.topic_ready("single").await?;
        s.cluster_ready("castle", 3).await?;
        s.assert_rolled("castle", &pods, true).await?;
        single.stop(GAP_ROLL).await?;
        load.stop(GAP_ROLL).await?;
        Ok(())
    });
}

/// Until the status has the command that keeps the volumes of all these claims.
async fn told_how_to_keep_them(s: &Scenario, claims: &[String]) -> Result<()> {
    let volume = "jsonpath={.spec.volumeName}";
    let volumes: Result<Vec<String>> =
        claims.iter().map(|claim| s.kubectl(&["get", "pvc", claim, "-o", volume])).collect();
    let mut named = volumes?;
    named.extend_from_slice(claims);
    named.push("kubectl patch pv ".into());
    let told = |cluster: Option<&KafkaCluster>| {
        let status = cluster.and_then(|cluster| cluster.status.as_ref());
        let degraded = status.and_then(|s| find_condition(&s.conditions, kind::DEGRADED));
        degraded.is_some_and(|degraded| {
            let names = named.iter().all(|name| degraded.message.contains(name.as_str()));
            degraded.status == "True" && degraded.reason == "VolumeGoing" && names
        })
    };
    s.until("castle", "told how to keep the volumes", STEP, told).await.map(drop)
}

/// A cluster that is deleted leaves its volumes, and one of the same name takes them up with all
/// that is in them. The client waits meanwhile.
#[test]
#[ignore = "needs kind: cargo x kind test"]
fn made_again_on_retained_volumes() {
    scenario("cluster-again", async |s| {
        let cluster = yaml::cluster("castle", 3).replace("      deletionPolicy: Delete\n", "");
        let load = s.castle_of(3, &cluster).await?;
        load.more(1000).await?;
        let topic = async || {
            let status = s.topic_ready("orders").await?.status;
            status.and_then(|status| status.topic_id).context("the topic has an id")
        };
        let (id, claims) = (topic().await?, s.volumes("castle").await?);

        s.kubectl(&["delete", "kafkacluster", "castle", "--timeout=60s"])?;
        s.gone::<KafkaCluster>("castle", CREATE).await?;
        for broker in 0..3 {
            s.gone::<Pod>(&format!("castle-broker-{broker}"), CREATE).await?;
        }
        ensure!(s.volumes("castle").await? == claims, "volumes went with their cluster");

        s.apply(&cluster)?;
        s.cluster_ready("castle", 3).await?;
        let again = topic().await?;
        ensure!(id == again, "{id} was made again as {again}");
        load.more(500).await?;
        load.in_sync("orders", 3).await?;
        let report = load.end().await?;
        // It was away for as long as it was deleted: what was acknowledged is all there.
        report.safe()?;
        report.gap_within(STEP)
    });
}
