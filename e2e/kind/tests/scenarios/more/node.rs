//! Nodes that are drained, that vanish, and volumes that are lost with them.

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};
use kind_e2e::{CREATE, GAP_KILLED, GAP_LOSS, GAP_ROLL, Load, STEP, Scenario, scenario, yaml};

/// Where no scenario stops a node.
const OPERATOR_APART: &[&str] =
    &[r"nodeSelector.node-role\.kubernetes\.io/control-plane=", "tolerations[0].operator=Exists"];

/// Two operators on two nodes.
const OPERATORS_SPREAD: &[&str] = &[
    "replicas=2",
    "topologySpreadConstraints[0].maxSkew=1",
    "topologySpreadConstraints[0].topologyKey=kubernetes.io/hostname",
    "topologySpreadConstraints[0].whenUnsatisfiable=DoNotSchedule",
    concat!(
        "topologySpreadConstraints[0].labelSelector.matchLabels.",
        r"app\.kubernetes\.io/component=operator"
    ),
];

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
/// The operator is on another one.
#[test]
#[ignore = "needs kind: cargo x kind test"]
fn lost() {
    scenario("node-lost", async |s| {
        let load = s.castle(3, "").await?;
        s.install_operator(OPERATOR_APART).await?;
        let node = s.node_of("castle-broker-1")?;
        s.stop_node(&node)?;
        s.out_of_sync(&load, 1).await?;
        load.more(500).await?;
        returned(s, load, &node).await
    });
}

/// A node without power takes the operator that works with it: the other one takes over while the
/// node is away.
#[test]
#[ignore = "needs kind: cargo x kind test"]
fn lost_with_operator() {
    scenario("operator-node-lost", async |s| {
        // Its pod is started again with the node, and may look for a Lease before the network is.
        s.allow_operator_restarts();
        s.allow_warning("cannot take the Lease");
        let load = s.castle(3, "").await?;
        s.install_operator(OPERATORS_SPREAD).await?;
        let (lost, node) = working_operator(s).await?;
        let broker = (0..3).find(|id| {
            let beside = s.node_of(&format!("castle-broker-{id}"));
            beside.is_ok_and(|beside| beside == node)
        });
        let broker = broker.context("no broker is on the operator's node")?;
        s.stop_node(&node)?;
        s.out_of_sync(&load, broker).await?;
        let taken = async || Ok(s.lease_holder().await?.is_some_and(|name| name != lost));
        s.eventually("the other operator has the Lease", CREATE, taken).await?;
        s.apply(&yaml::topic("later", "castle", 2, 2))?;
        s.topic_ready("later").await?;
        load.more(500).await?;
        returned(s, load, &node).await
    });
}

/// The operator pod that has the Lease, and its node.
async fn working_operator(s: &Scenario) -> Result<(String, String)> {
    let mut found = None;
    let look = async || {
        let holder = s.lease_holder().await?;
        // The one that was replaced a moment ago may still hold it.
        let mut pods = s.operator_pods().await?;
        pods.retain(|pod| pod.metadata.deletion_timestamp.is_none());
        let holds = pods.into_iter().find(|pod| pod.metadata.name == holder);
        found = holds.and_then(|pod| Some((pod.metadata.name?, pod.spec?.node_name?)));
        Ok(found.is_some())
    };
    s.eventually("an operator has the Lease", CREATE, look).await?;
    found.context("found above")
}

/// Starts the node again and judges what clients saw: two of three replicas are enough for every
/// write.
async fn returned(s: &Scenario, load: Load<'_>, node: &str) -> Result<()> {
    s.start_node(node)?;
    load.in_sync("orders", 3).await?;
    s.cluster_ready("castle", 3).await?;
    load.more(500).await?;
    load.stop(GAP_LOSS).await?;
    Ok(())
}

/// A volume that is gone: the broker comes back empty under its old name and copies everything.
#[test]
#[ignore = "needs kind: cargo x kind test"]
fn volume_lost() {
    scenario("volume-lost", async |s| {
        let load = s.castle(3, "").await?;
        let before = lives_of_broker_1(s).await?;
        s.kubectl(&["delete", "pvc", "data-castle-broker-1", "--wait=false"])?;
        s.kill_pod("castle-broker-1")?;
        begun_anew(s, &before).await?;
        load.in_sync("orders", 3).await?;
        s.cluster_ready("castle", 3).await?;
        load.more(500).await?;
        load.stop(GAP_KILLED).await?;
        Ok(())
    });
}

async fn begun_anew(s: &Scenario, before: &[Option<String>; 2]) -> Result<()> {
    let replaced = async || {
        let now = lives_of_broker_1(s).await?;
        let changed =
            |(now, before): (&Option<String>, &Option<String>)| now.is_some() && now != before;
        Ok(now.iter().zip(before).all(changed))
    };
    s.eventually("broker 1 has another volume and another pod", STEP, replaced).await
}

/// A node that never comes back, and with it the only disk of a broker: after the time that the
/// user set the broker begins anew on another node.
#[test]
#[ignore = "needs kind: cargo x kind test"]
fn never_back() {
    scenario("node-never-back", async |s| {
        let timeout = "    nodeLossTimeoutSeconds: 60\n    storage:\n";
        let cluster = yaml::cluster("castle", 3).replace("    storage:\n", timeout);
        let load = s.castle_of(3, &cluster).await?;
        s.install_operator(OPERATOR_APART).await?;
        let before = lives_of_broker_1(s).await?;
        let node = s.node_of("castle-broker-1")?;
        s.stop_node(&node)?;
        s.out_of_sync(&load, 1).await?;
        load.more(500).await?;

        begun_anew(s, &before).await?;
        load.in_sync("orders", 3).await?;
        s.cluster_ready("castle", 3).await?;
        let now = s.node_of("castle-broker-1")?;
        ensure!(now != node, "broker 1 is on {now} again");
        load.more(500).await?;
        load.stop(GAP_LOSS).await?;
        Ok(())
    });
}

/// UIDs of its volume claim and of its pod.
async fn lives_of_broker_1(s: &Scenario) -> Result<[Option<String>; 2]> {
    let claim = s.uid::<PersistentVolumeClaim>("data-castle-broker-1").await?;
    Ok([claim, s.uid::<Pod>("castle-broker-1").await?])
}
