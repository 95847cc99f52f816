//! The rights that the chart gives the operator in each of its modes are enough, and no more than
//! it says.

use std::fs;

use anyhow::{Context, Result, ensure};
use kind_e2e::{Scenario, Tool, scenario, yaml};

const INSTALL: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../manifests/install.yaml");
const WITH_RACK: &str = "  rack:\n    nodeLabel: topology.kubernetes.io/zone\n";

/// What `helm install` does without any values: all namespaces, and nodes are read.
#[test]
#[ignore = "needs kind: cargo x kind test"]
fn cluster_wide() {
    scenario("rbac-cluster-wide", async |s| {
        s.install_plain(&[])?;
        ensure!(s.operator_may("list", "nodes", None).await?);
        ensure!(s.operator_may("create", "services", Some("default")).await?);
        ensure!(!s.operator_may("get", "secrets", Some(&s.namespace)).await?);
        ensure!(!s.operator_may("update", "secrets", Some(&s.namespace)).await?);
        ensure!(s.operator_may("create", "secrets", Some(&s.namespace)).await?);
        let rack = works(s, WITH_RACK).await?;
        ensure!(rack.is_some(), "the broker has no rack");
        install_manifest(s)
    });
}

/// A tenant's operator: rights in the namespaces that are named, and nothing of the cluster's.
#[test]
#[ignore = "needs kind: cargo x kind test"]
fn namespaced() {
    scenario("rbac-namespaced", async |s| {
        let watched = format!("watchNamespaces={{{}}}", s.namespace);
        s.install_plain(&[&watched, "rbac.global=false"])?;
        ensure!(!s.operator_may("list", "nodes", None).await?);
        ensure!(!s.operator_may("list", "pods", None).await?);
        ensure!(!s.operator_may("list", "pods", Some("default")).await?);
        ensure!(s.operator_may("list", "pods", Some(&s.namespace)).await?);
        works(s, "").await.map(drop)
    });
}

/// A small cluster and its Topic become ready; the broker's rack.
async fn works(s: &Scenario, more: &str) -> Result<Option<String>> {
    let cluster = yaml::single("tower") + more;
    s.apply(&yaml::documents(&[&cluster, &yaml::topic("orders", "tower", 3, 1)]))?;
    let cluster = s.cluster_ready("tower", 1).await?;
    s.topic_ready("orders").await?;
    let status = cluster.status.context("a cluster that is ready has a status")?;
    Ok(status.brokers.into_iter().next().and_then(|broker| broker.rack))
}

/// `manifests/install.yaml` is accepted by a real API server, which writes none of it down.
fn install_manifest(s: &Scenario) -> Result<()> {
    // Its namespace would not be there for what is in it, since that is not written down either;
    // and where the release is, a Deployment of the same name has other labels.
    let here = format!("namespace: {}\n", s.namespace);
    let text = fs::read_to_string(INSTALL)?.replace("namespace: barnabas\n", &here);
    let path = std::env::temp_dir().join(format!("{}-install.yaml", s.namespace));
    fs::write(&path, text)?;
    // Definitions and some labels are the release's here.
    let how = ["apply", "--server-side", "--dry-run=server", "--force-conflicts", "-f"];
    let said = Tool::Kubectl.run(&[&how[..], &[&*path.to_string_lossy()]].concat());
    fs::remove_file(&path)?;
    let said = said?;
    ensure!(said.contains("deployment.apps/barnabas-operator"), "{said}");
    s.say("install.yaml is accepted");
    Ok(())
}
