//! A mutating webhook, which has the last word on every StatefulSet of the scenario.

use anyhow::Result;
use k8s_openapi::ByteString;

use crate::Scenario;
use crate::http::Target;
use crate::load::PORT;
use crate::wait::CREATE;
use crate::yaml::service;

/// Pod, Service and configuration.
const NAME: &str = "webhook";

impl Scenario {
    /// From now on, who writes a StatefulSet finds another `terminationGracePeriodSeconds` of its
    /// pods there than was written: 47.
    pub async fn mutate_stateful_sets(&self) -> Result<()> {
        let host = format!("--name={NAME}.{}.svc", self.namespace);
        self.load_pod(NAME, &["webhook".to_owned(), host]).await?;
        let (client, namespace) = (&self.client, self.namespace.as_str());
        let target = Target { client, namespace, pod: NAME, port: PORT };
        // A pod that runs may not listen yet.
        let ca = async || target.get("ca").await;
        let ca = self.retried("the webhook's certificate", CREATE, ca).await?;
        let ca = serde_json::to_string(&ByteString(ca.into_bytes()))?;
        self.apply(&configuration(namespace, &ca))?;
        self.say("a webhook changes every StatefulSet");
        Ok(())
    }
}

fn configuration(namespace: &str, ca: &str) -> String {
    let service = service(NAME);
    format!(
        "\
{service}---
apiVersion: admissionregistration.k8s.io/v1
kind: MutatingWebhookConfiguration
metadata:
  name: {NAME}-{namespace}
  labels: {{barnabas.dev/scenario: {namespace}}}
webhooks:
- name: policy.example.com
  clientConfig:
    service: {{namespace: {namespace}, name: {NAME}}}
    caBundle: {ca}
  namespaceSelector: {{matchLabels: {{kubernetes.io/metadata.name: {namespace}}}}}
  rules:
  - operations: [CREATE, UPDATE]
    apiGroups: [apps]
    apiVersions: [v1]
    resources: [statefulsets]
  failurePolicy: Fail
  sideEffects: None
  admissionReviewVersions: [v1]
"
    )
}
