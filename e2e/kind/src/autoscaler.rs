//! What an autoscaler scales by: a metric whose value the scenario says. Kubernetes asks one source
//! of such metrics for all namespaces, so two scenarios that have one cannot run side by side.

use anyhow::Result;

use crate::Scenario;
use crate::command::Tool;
use crate::http::Target;
use crate::load::PORT;
use crate::wait::CREATE;
use crate::yaml::service;

/// Pod and Service.
const NAME: &str = "metric";

/// The metric while it is served.
pub struct Metric<'a> {
    scenario: &'a Scenario,
}

impl Scenario {
    /// Serves the metrics API that autoscalers read external metrics from; all have this value.
    pub async fn metric(&self, value: u32) -> Result<Metric<'_>> {
        self.load_pod(NAME, &["metric".to_owned()]).await?;
        let metric = Metric { scenario: self };
        metric.set(value).await?;
        self.apply(&registration(&self.namespace))?;
        let available = ["wait", "--for=condition=Available", "--timeout=120s"];
        let api = "apiservice/v1beta1.external.metrics.k8s.io";
        Tool::Kubectl.run(&[&available[..], &[api]].concat())?;
        Ok(metric)
    }
}

impl Metric<'_> {
    pub async fn set(&self, value: u32) -> Result<()> {
        self.scenario.say(format!("the metric is {value}"));
        let (client, namespace) = (&self.scenario.client, self.scenario.namespace.as_str());
        let target = Target { client, namespace, pod: NAME, port: PORT };
        let path = format!("value/{value}");
        // A pod that runs may not listen yet.
        let set = async || target.post(&path).await;
        self.scenario.retried("setting the metric", CREATE, set).await.map(drop)
    }
}

fn registration(namespace: &str) -> String {
    let service = service(NAME);
    format!(
        "\
{service}---
apiVersion: apiregistration.k8s.io/v1
kind: APIService
metadata:
  name: v1beta1.external.metrics.k8s.io
  labels: {{barnabas.dev/scenario: {namespace}}}
spec:
  group: external.metrics.k8s.io
  version: v1beta1
  service: {{namespace: {namespace}, name: {NAME}}}
  insecureSkipTLSVerify: true
  groupPriorityMinimum: 100
  versionPriority: 100
"
    )
}
