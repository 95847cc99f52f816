//! Disks that are full, and disks that are slow.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use crd::KafkaCluster;
use k8s_openapi::api::core::v1::Pod;
use kind_e2e::{CREATE, Disk, GAP_LOSS, Load, STEP, Scenario, scenario, yaml};

const CLAIM: &str = "data-castle-broker-1";
const POD: &str = "castle-broker-1";

/// A disk without room takes no more records, of those that its broker leads neither, and no other
/// broker is touched. The volumes are made larger, as a user does it, and all goes on by itself.
#[test]
#[ignore = "needs kind: cargo x kind test"]
fn full_then_grown() {
    scenario("disk-full", async |s| {
        s.allow_error("log directory is full");
        s.allow_error("write checkpoints");
        s.allow_error("the metadata log waits to be written");
        let class = s.growing_class()?;
        let node = s.workers()?.pop().context("a worker")?;
        let disk = s.small_disk(&node, CLAIM, &class, "64m")?;
        let load = castle(s, &class, "").await?;
        let pods = s.broker_pods("castle").await?;
        disk.fill()?;
        s.cluster_says("castle", "broker 1 is catching up").await?;
        load.more(1000).await?;

        s.patch("kafkacluster/castle", r#"{"spec": {"brokers": {"storage": {"size": "2Gi"}}}}"#)?;
        disk.grow("256m")?;
        load.in_sync("orders", 3).await?;
        s.grow_volumes(&s.volumes("castle").await?, "2Gi").await?;
        s.cluster_ready("castle", 3).await?;
        s.assert_rolled("castle", &pods, false).await?;
        load.more(500).await?;
        let report = load.end().await?;
        report.safe()?;
        // What broker 1 leads waits for as long as there is no room.
        report.gap_within(STEP)
    });
}

async fn castle<'a>(s: &'a Scenario, class: &str, config: &str) -> Result<Load<'a>> {
    let storage = format!("storage:\n      storageClass: {class}\n");
    let cluster = yaml::cluster("castle", 3).replace("storage:\n", &storage) + config;
    let load = s.castle_of(3, &cluster).await?;
    let bound = s.kubectl(&["get", "pvc", CLAIM, "-o", "jsonpath={.spec.volumeName}"])?;
    ensure!(bound.starts_with(&s.namespace), "broker 1 has the volume {bound}");
    Ok(load)
}

/// In the middle of a roll a follower does not keep up, for its disk takes less than what is
/// written: the operator says that it waits for it, and restarts nobody else until it is there.
#[test]
#[ignore = "needs kind: cargo x kind test"]
fn slow_in_a_roll() {
    scenario("disk-slow", async |s| {
        let class = s.growing_class()?;
        let node = s.workers()?.pop().context("a worker")?;
        let disk = s.synchronous_disk(&node, CLAIM, &class)?;
        let load = castle(s, &class, "    replica.lag.time.max.ms: 3000\n").await?;
        follows(s, &load).await?;
        let before = s.broker_pods("castle").await?;
        s.kubectl(&["annotate", "kafkacluster", "castle", "barnabas.dev/restart=now"])?;
        let began = async || Ok(s.uid::<Pod>(POD).await?.as_ref() != before.get(POD));
        s.eventually("broker 1 is restarted", STEP, began).await?;
        slowed(s, &disk).await?;
        s.out_of_sync(&load, 1).await?;
        s.cluster_says("castle", "broker 1 is catching up").await?;
        waits(s, &load).await?;

        s.throttle(&disk, POD, 0)?;
        load.in_sync("orders", 3).await?;
        s.cluster_ready("castle", 3).await?;
        s.assert_rolled("castle", &before, true).await?;
        load.more(500).await?;
        load.stop(GAP_LOSS).await?;
        Ok(())
    });
}

/// The active controller is restarted last, so that nobody would be left to wait.
async fn follows(s: &Scenario, load: &Load<'_>) -> Result<()> {
    while s.active_controller("castle").await? == 1 {
        s.crash_broker(POD)?;
        let other = async || Ok(s.active_controllers("castle").await? != [1]);
        s.eventually("broker 1 is not the active controller", STEP, other).await?;
        load.in_sync("orders", 3).await?;
    }
    s.cluster_ready("castle", 3).await.map(drop)
}

/// A tenth of what the load writes to each broker.
async fn slowed(s: &Scenario, disk: &Disk) -> Result<()> {
    s.retried("slowing the disk down", CREATE, async || s.throttle(disk, POD, 4096)).await
}

/// For half a minute nobody else is restarted, and the status names the broker.
async fn waits(s: &Scenario, load: &Load<'_>) -> Result<()> {
    let (begun, pods) = (Instant::now(), s.broker_pods("castle").await?);
    while begun.elapsed() < Duration::from_secs(30) {
        load.more(500).await?;
        s.assert_rolled("castle", &pods, false).await?;
        let cluster = s.api::<KafkaCluster>().get("castle").await?;
        let message = cluster.status.and_then(|status| status.message).unwrap_or_default();
        ensure!(message.contains("broker 1 is catching up"), "{message}");
    }
    s.say(format!("for {:.0?} nobody else was restarted", begun.elapsed()));
    Ok(())
}
