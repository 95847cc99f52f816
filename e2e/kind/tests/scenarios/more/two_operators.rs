//! Two operators that may both look after a cluster: one does, and the other leaves it alone, until
//! the cluster is handed over.

use std::time::Duration;

use anyhow::{Context, ensure};
use kind_e2e::{CREATE, GAP_ROLL, Tool, scenario};

#[test]
#[ignore = "needs kind: cargo x kind test"]
fn two_operators() {
    scenario("two-operators", async |s| {
        s.allow_warning("looks after this cluster");
        let load = s.castle(3, "").await?;
        let pods = s.broker_pods("castle").await?;
        let first = s.cluster_ready("castle", 3).await?.status.context("status")?.operator;
        ensure!(first == Some(format!("{}/barnabas-operator", s.home)), "{first:?}");

        s.say("a second operator comes, with another image");
        let chart = concat!(env!("CARGO_MANIFEST_DIR"), "/../../charts/barnabas-operator");
        let watched = format!("watchNamespaces={{{}}}", s.namespace);
        let mut install = vec!["install", "second", chart, "--namespace", &s.home, "--wait"];
        let values =
            ["image.tag=dev", "brokerImage.tag=next", "crds.enabled=false", "rbac.global=true"];
        for value in values.iter().chain([&watched.as_str()]) {
            install.extend(["--set", value]);
        }
        Tool::Helm.run(&install)?;
        let told = async || {
            let events =
                ["get", "events", "--field-selector", "reason=OtherOperator", "-o", "name"];
            Ok(!s.kubectl(&events)?.is_empty())
        };
        s.eventually("the second operator says that it leaves it alone", CREATE, told).await?;
        s.assert_quiet(Duration::from_secs(30)).await?;
        s.assert_rolled("castle", &pods, false).await?;

        s.say("and takes it once it is handed over");
        let to = format!("barnabas.dev/operator={}/second-barnabas-operator", s.home);
        s.kubectl(&["annotate", "kafkacluster", "castle", &to, "--overwrite"])?;
        let second = async || {
            let owner = ["get", "kafkacluster", "castle", "-o", "jsonpath={.status.operator}"];
            Ok(to.ends_with(&*s.kubectl(&owner)?))
        };
        s.eventually("the status names the second", CREATE, second).await?;
        s.cluster_ready("castle", 3).await?;
        s.assert_rolled("castle", &pods, false).await?;
        load.stop(GAP_ROLL).await?;
        Ok(())
    });
}
