//! Volumes that grow, which those of the bed do not: the scenario does what a storage driver's
//! resizer does, and the kubelet, as everywhere, finishes it.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use kube::Api;
use kube::api::{Patch, PatchParams};
use serde_json::json;

use crate::Scenario;
use crate::wait::STEP;

impl Scenario {
    /// Makes a storage class whose volumes may grow; it goes with the scenario.
    pub fn growing_class(&self) -> Result<String> {
        let name = format!("growing-{}", self.namespace);
        // The kubelet finishes the growth of local volumes, and of host paths it does not.
        let class = format!(
            "\
apiVersion: storage.k8s.io/v1
kind: StorageClass
metadata:
  name: {name}
  labels: {{barnabas.dev/scenario: {}}}
  annotations: {{defaultVolumeType: local}}
provisioner: rancher.io/local-path
volumeBindingMode: WaitForFirstConsumer
reclaimPolicy: Delete
allowVolumeExpansion: true
",
            self.namespace
        );
        self.apply(&class)?;
        Ok(name)
    }

    /// Waits until each of these claims asks for the size, grows their volumes, and waits until the
    /// kubelet has said that the file systems have it too. It looks about once a minute.
    pub async fn grow_volumes(&self, claims: &[String], size: &str) -> Result<()> {
        for claim in claims {
            self.grow_volume(claim, size).await?;
        }
        for claim in claims {
            let has = |claim: Option<&PersistentVolumeClaim>| {
                let status = claim.and_then(|claim| claim.status.as_ref());
                is_size(status.and_then(|status| status.capacity.as_ref()), size)
            };
            self.until(claim, &format!("grown to {size}"), STEP, has).await?;
        }
        Ok(())
    }

    async fn grow_volume(&self, claim: &str, size: &str) -> Result<()> {
        let asks = |claim: Option<&PersistentVolumeClaim>| {
            let spec = claim.and_then(|claim| claim.spec.as_ref());
            is_size(spec.and_then(|spec| spec.resources.as_ref()?.requests.as_ref()), size)
        };
        let found = self.until(claim, &format!("asking for {size}"), STEP, asks).await?;
        let volume = found.and_then(|claim| claim.spec?.volume_name);
        let volume = volume.context("the claim has no volume")?;

        let volumes: Api<PersistentVolume> = Api::all(self.client.clone());
        let parameters = PatchParams::default();
        let capacity = json!({"spec": {"capacity": {"storage": size}}});
        volumes.patch(&volume, &parameters, &Patch::Merge(capacity)).await?;
        let pending = json!({"status": {
            "allocatedResources": {"storage": size},
            "allocatedResourceStatuses": {"storage": "NodeResizePending"},
            "conditions": [{"type": "FileSystemResizePending", "status": "True"}],
        }});
        let claims = self.api::<PersistentVolumeClaim>();
        claims.patch_status(claim, &parameters, &Patch::Merge(pending)).await?;
        Ok(())
    }
}

fn is_size(resources: Option<&BTreeMap<String, Quantity>>, size: &str) -> bool {
    resources.and_then(|resources| resources.get("storage")) == Some(&Quantity(size.into()))
}
