//! The chart's release as its user sees it: installed with little more than default values, tried
//! by `helm test`, and what its account may do.

use anyhow::{Context, Result};
use k8s_openapi::api::authorization::v1::{
    ResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec,
};
use k8s_openapi::api::coordination::v1::Lease;
use kube::Api;
use kube::api::PostParams;

use crate::Scenario;
use crate::command::Tool;
use crate::operator::RELEASE;
use crate::scenario::repository;

impl Scenario {
    /// Installs or upgrades the chart with no values but the images of this work tree and those
    /// given. Without `watchNamespaces` the operator looks after all namespaces: two scenarios of
    /// this kind cannot run side by side.
    pub fn install_plain(&self, values: &[&str]) -> Result<()> {
        self.install_at(&self.home, values)
    }

    /// The same in any namespace, which the caller removes.
    pub fn install_at(&self, namespace: &str, values: &[&str]) -> Result<()> {
        let chart = repository().join("charts/barnabas-operator");
        let chart = chart.to_string_lossy();
        let mut arguments = vec!["upgrade", "--install", RELEASE, &chart, "--take-ownership"];
        arguments.extend(["--namespace", namespace, "--wait", "--timeout", "120s"]);
        for value in ["image.tag=dev", "brokerImage.tag=dev"].iter().chain(values) {
            arguments.extend(["--set", value]);
        }
        Tool::Helm.run(&arguments)?;
        self.say("operator installed with few values");
        Ok(())
    }

    /// `helm test`: the chart's own proof, with a cluster that it makes and removes.
    pub fn helm_test(&self) -> Result<()> {
        // Longer than what its pod takes at most, so that the pod's words are the failure.
        let how = ["--namespace", &self.home, "--timeout", "240s", "--logs"];
        Tool::Helm.run(&[&["test", RELEASE][..], &how].concat())?;
        self.say("helm test passed");
        Ok(())
    }

    /// Whether the operator's account may do this; with no namespace: in the whole cluster.
    pub async fn operator_may(
        &self,
        verb: &str,
        resource: &str,
        namespace: Option<&str>,
    ) -> Result<bool> {
        let attributes = ResourceAttributes {
            verb: Some(verb.to_owned()),
            resource: Some(resource.to_owned()),
            namespace: namespace.map(str::to_owned),
            ..ResourceAttributes::default()
        };
        let spec = SubjectAccessReviewSpec {
            user: Some(format!("system:serviceaccount:{}:{RELEASE}", self.home)),
            resource_attributes: Some(attributes),
            ..SubjectAccessReviewSpec::default()
        };
        let review = SubjectAccessReview { spec, ..SubjectAccessReview::default() };
        let reviews: Api<SubjectAccessReview> = Api::all(self.client.clone());
        let answer = reviews.create(&PostParams::default(), &review).await?;
        Ok(answer.status.context("a review has an answer")?.allowed)
    }

    /// The operator pod that works, if one does: the others wait for its Lease.
    pub async fn lease_holder(&self) -> Result<Option<String>> {
        let leases: Api<Lease> = Api::namespaced(self.client.clone(), &self.home);
        let lease = leases.get(RELEASE).await?;
        Ok(lease.spec.and_then(|spec| spec.holder_identity))
    }

    /// How often containers of the operator's pods were started again.
    pub async fn operator_restarts(&self) -> Result<i32> {
        let pods = self.operator_pods().await?;
        let containers =
            pods.iter().filter_map(|pod| pod.status.as_ref()?.container_statuses.as_ref());
        Ok(containers.flatten().map(|container| container.restart_count).sum())
    }
}
