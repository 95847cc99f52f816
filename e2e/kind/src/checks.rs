//! What scenarios compare before and after: pods by their UID, volumes, the kinds of things that
//! must not have changed.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};
use kube::ResourceExt;
use kube::api::ListParams;

use crate::Scenario;
use crate::command::{Tool, run};
use crate::scenario::repository;

/// Name of a pod.
pub type PodName = String;

impl Scenario {
    /// UIDs of a cluster's broker pods: an unchanged UID is a broker that was not restarted.
    pub async fn broker_pods(&self, cluster: &str) -> Result<BTreeMap<PodName, String>> {
        let pods = self.api::<Pod>().list(&of_cluster(cluster)).await?;
        Ok(pods.into_iter().map(|pod| (pod.name_any(), pod.uid().unwrap_or_default())).collect())
    }

    /// Names of a cluster's volumes.
    pub async fn volumes(&self, cluster: &str) -> Result<Vec<String>> {
        let prefix = format!("data-{cluster}-broker-");
        let claims = self.api::<PersistentVolumeClaim>().list(&ListParams::default()).await?;
        let names = claims.into_iter().map(|claim| claim.name_any());
        Ok(names.filter(|name| name.starts_with(&prefix)).collect())
    }

    /// Fails unless every broker pod of `before` was replaced, or unless none was.
    pub async fn assert_rolled(
        &self,
        cluster: &str,
        before: &BTreeMap<PodName, String>,
        rolled: bool,
    ) -> Result<()> {
        let now = self.broker_pods(cluster).await?;
        for (pod, uid) in before {
            let uid_now = now.get(pod).with_context(|| format!("{pod} is gone"))?;
            ensure!((uid_now != uid) == rolled, "{pod} had {uid}, has {uid_now}");
        }
        Ok(())
    }

    /// `kubectl scale`, as an autoscaler does it.
    pub fn scale(&self, cluster: &str, replicas: i32) -> Result<()> {
        self.say(format!("scaling {cluster} to {replicas}"));
        let replicas = format!("--replicas={replicas}");
        self.kubectl(&["scale", "kafkacluster", cluster, &replicas]).map(drop)
    }

    /// Produces and consumes from outside the cluster, by the same unmodified client.
    pub fn produce_and_consume(&self, bootstrap: &str, topic: &str) -> Result<()> {
        let program = repository().join("target/images/load");
        let mut command = std::process::Command::new(program);
        command.args(["once", "--bootstrap", bootstrap, "--topic", topic, "--drain", "60s"]);
        let report = run(&mut command, "")?;
        self.say(format!("produced and consumed over {bootstrap}"));
        ensure!(report.contains("\"verdict\": \"ok\""), "{report}");
        Ok(())
    }

    /// The programs of a tool, for what has no helper here.
    pub fn tool(&self, tool: Tool, arguments: &[&str]) -> Result<String> {
        tool.run(arguments)
    }
}

fn of_cluster(cluster: &str) -> ListParams {
    ListParams::default()
        .labels(&format!("barnabas.dev/cluster={cluster},app.kubernetes.io/component=broker"))
}
