//! The operator, installed as a user installs it.

use std::time::Duration;

use anyhow::{Result, ensure};
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use kube::api::{Api, ListParams};

use crate::Scenario;
use crate::accident::{crash, delete_by_force};
use crate::command::Tool;
use crate::http::Target;
use crate::scenario::repository;

/// The chart's release, which is also the name of its Deployment.
pub(crate) const RELEASE: &str = "barnabas-operator";
pub(crate) const HTTP_PORT: u16 = 9405;

impl Scenario {
    /// Installs or upgrades the chart of this work tree to look after the scenario's namespace.
    /// `values` are further `--set` arguments.
    pub async fn install_operator(&self, values: &[&str]) -> Result<()> {
        let chart = repository().join("charts/barnabas-operator");
        self.install_chart(&chart.to_string_lossy(), values).await
    }

    /// The same with another chart, such as a changed copy.
    pub async fn install_chart(&self, chart: &str, values: &[&str]) -> Result<()> {
        let watched = format!("watchNamespaces={{{}}}", self.namespace);
        let mut arguments = vec!["upgrade", "--install", RELEASE, chart];
        arguments.extend(["--namespace", &self.home, "--wait", "--timeout", "120s"]);
        // The definitions are the cluster's; each scenario's release takes them over.
        arguments.push("--take-ownership");
        let fixed = ["image.tag=dev", "brokerImage.tag=dev", "rbac.global=true", &watched];
        for value in fixed.iter().chain(values) {
            arguments.extend(["--set", value]);
        }
        Tool::Helm.run(&arguments)?;
        self.say("operator installed");
        Ok(())
    }

    /// The operator's pods.
    pub async fn operator_pods(&self) -> Result<Vec<Pod>> {
        let selector = ListParams::default().labels("app.kubernetes.io/component=operator");
        let pods: Api<Pod> = Api::namespaced(self.client.clone(), &self.home);
        Ok(pods.list(&selector).await?.items)
    }

    /// Kills the processes of all operator pods, without a chance to end well, and then deletes the
    /// pods, so that others take their place.
    pub async fn kill_operator(&self) -> Result<()> {
        self.say("killing the operator");
        self.allow_operator_restarts();
        let pods = self.operator_pods().await?;
        for pod in &pods {
            crash(&self.home, &pod.name_any())?;
        }
        for pod in &pods {
            delete_by_force(&self.home, &pod.name_any())?;
        }
        Ok(())
    }

    /// How often the operator has written to the API server, all its pods together. The Lease does
    /// not count: it is renewed whatever happens.
    pub async fn operator_writes(&self) -> Result<f64> {
        let name = "barnabas_operator_api_writes_total";
        let lease = format!("{name}{{kind=\"Lease\"}}");
        let all = self.operator_metrics().await?;
        Ok(all.iter().map(|text| metric_sum(text, name) - metric_sum(text, &lease)).sum())
    }

    /// A metric of the operator, summed over its labels and all its pods.
    pub async fn operator_metric(&self, name: &str) -> Result<f64> {
        let all = self.operator_metrics().await?;
        Ok(all.iter().map(|text| metric_sum(text, name)).sum())
    }

    async fn operator_metrics(&self) -> Result<Vec<String>> {
        let mut all = Vec::new();
        for pod in self.operator_pods().await? {
            let pod = pod.name_any();
            let (client, namespace) = (&self.client, self.home.as_str());
            all.push(
                Target { client, namespace, pod: &pod, port: HTTP_PORT }.get("metrics").await?,
            );
        }
        Ok(all)
    }

    /// Fails if the operator writes anything while nothing changes. Time is what is measured here,
    /// so this does wait for it to pass.
    pub async fn assert_quiet(&self, window: Duration) -> Result<()> {
        let before = self.operator_writes().await?;
        tokio::time::sleep(window).await;
        let after = self.operator_writes().await?;
        ensure!(before == after, "{} writes in {window:?} of calm", after - before);
        Ok(())
    }
}

/// The sum of a metric over its labels.
fn metric_sum(text: &str, name: &str) -> f64 {
    let samples = text.lines().filter(|line| {
        let rest = line.strip_prefix(name);
        rest.is_some_and(|rest| rest.starts_with('{') || rest.starts_with(' '))
    });
    samples.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_metric_is_summed_over_its_labels() {
        let text =
            "# HELP a_total x\na_total{kind=\"Pod\"} 3\na_total{kind=\"b\"} 4\na_total_x 9\n";
        assert_eq!(metric_sum(text, "a_total"), 7.0);
        assert_eq!(metric_sum("a_total 2\n", "a_total"), 2.0);
        assert_eq!(metric_sum(text, "a_total{kind=\"b\"}"), 4.0);
    }
}
