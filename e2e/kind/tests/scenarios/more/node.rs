//! Nodes that are drained, that vanish, and volumes that are lost with them.

use kind_e2e::{GAP_LOSS, GAP_ROLL, STEP, scenario};

/// `kubectl drain` evicts one broker, which hands its leaders off; it comes back with the node.
#[test]
#[ignore = "needs kind: cargo x kind test"]
fn drained() {
    scenario("node-drained", async |s| {
        let load = s.castle(3, "").await?;
        let node = s.node_of("castle-broker-1")?;
        s.drain_node(&node, 120)?;
        load.more(500).await?;
        s.uncordon_node(&node)?;
        s.cluster_ready("castle", 3).await?;
        load.stop(GAP_ROLL).await?;
        Ok(())
    });
}

/// A node without power: its broker's partitions go on elsewhere, and it returns with the node.
#[test]
#[ignore = "needs kind: cargo x kind test"]
fn lost() {
    scenario("node-lost", async |s| {
        let load = s.castle(3, "").await?;
        let node = s.node_of("castle-broker-1")?;
        s.stop_node(&node)?;
        let down = async || Ok(!isr_has(load.topic("orders").await?, 1));
        s.eventually("broker 1 is out of every ISR", STEP, down).await?;
        load.more(500).await?;
        s.start_node(&node)?;
        load.in_sync("orders", 3).await?;
        s.cluster_ready("castle", 3).await?;
        load.more(500).await?;
        let report = load.end().await?;
        report.safe()?;
        report.gap_within(GAP_LOSS)
    });
}

fn isr_has(partitions: Vec<kind_e2e::Partition>, broker: i32) -> bool {
    partitions.iter().any(|partition| partition.isr.contains(&broker))
}

/// A volume that is gone: the broker comes back empty under its old name and copies everything.
#[test]
#[ignore = "needs kind: cargo x kind test"]
fn volume_lost() {
    scenario("volume-lost", async |s| {
        let load = s.castle(3, "").await?;
        s.kubectl(&["delete", "pvc", "data-castle-broker-1", "--wait=false"])?;
        s.kill_pod("castle-broker-1")?;
        load.in_sync("orders", 3).await?;
        s.cluster_ready("castle", 3).await?;
        load.more(500).await?;
        let report = load.end().await?;
        report.safe()?;
        report.gap_within(GAP_LOSS)
    });
}
