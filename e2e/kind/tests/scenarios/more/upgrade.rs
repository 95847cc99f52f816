//! A new release of the chart, with a changed definition of the resources.

use std::fs;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use kind_e2e::{CREATE, GAP_ROLL, Tool, run, scenario};

const CHART: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../charts/barnabas-operator");
const COLUMN: &str = "name: Desired";

/// A copy of the chart whose KafkaCluster has a column of another name.
fn changed_chart(to: &str) -> Result<()> {
    run(Command::new("cp").args(["-rL", CHART, to]), "")?;
    let path = format!("{to}/files/crds/kafkaclusters.barnabas.dev.yaml");
    let text = fs::read_to_string(&path)?;
    ensure!(text.contains(COLUMN), "{path} has no column Desired");
    Ok(fs::write(&path, text.replace(COLUMN, "name: Wanted"))?)
}

#[test]
#[ignore = "needs kind: cargo x kind test"]
fn chart_upgraded() {
    scenario("chart-upgraded", async |s| {
        let load = s.castle(3, "").await?;
        let pods = s.broker_pods("castle").await?;
        let chart = std::env::temp_dir().join(&s.namespace);
        let chart = chart.to_str().context("a path of plain characters")?;
        changed_chart(chart)?;
        s.install_chart(chart, &["podAnnotations.release=next"]).await?;
        fs::remove_dir_all(chart)?;
        // The API server takes a moment to serve a definition that has changed.
        let served = async || Ok(s.kubectl(&["get", "kafkaclusters"])?.contains("WANTED"));
        s.eventually("the changed column is served", CREATE, served).await?;
        s.cluster_ready("castle", 3).await?;
        s.assert_rolled("castle", &pods, false).await?;

        s.say("and without the chart, what it made stays");
        // Helm takes the operator's rights and its account away before it ends.
        for part in ["is forbidden", "Unauthorized", "a pass did not end in time"] {
            s.allow_warning(part);
        }
        let release = ["uninstall", "barnabas-operator", "--namespace", &s.home];
        Tool::Helm.run(&release)?;
        load.more(500).await?;
        s.kubectl(&["get", "kafkacluster", "castle"])?;
        s.install_operator(&[]).await?;
        s.cluster_ready("castle", 3).await?;
        s.assert_rolled("castle", &pods, false).await?;
        load.stop(GAP_ROLL).await?;
        Ok(())
    });
}
