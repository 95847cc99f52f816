//! The secret that the brokers of a cluster prove to each other: the object, and how pods come by
//! it. It is in no file of the ConfigMap, and what brokers are told of it is in their pods' own
//! arguments: pods of an older template never see a key that they do not know.

use std::collections::BTreeMap;

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::{PodSpec, Secret, SecretVolumeSource, Volume};

use crate::input::{ClusterInput, SecretUse};
use crate::metadata_of::object_meta;
use crate::names::{SECRET_DIR, SECRET_KEY, SECRET_VOLUME};

/// Readable for the pod's own user by its group, and for nobody else.
const FILE_MODE: i32 = 0o440;

/// The Secret with this text. It is created once and never changed: a broker that starts with
/// another text than the others have read would be a stranger to them.
pub fn internal_secret(input: &ClusterInput<'_>, text: &str) -> Secret {
    let data = BTreeMap::from([(SECRET_KEY.to_owned(), ByteString(text.as_bytes().to_vec()))]);
    Secret {
        metadata: object_meta(input, input.names().internal_secret()),
        type_: Some("Opaque".into()),
        immutable: Some(true),
        data: Some(data),
        ..Secret::default()
    }
}

/// Whether a pod of this spec has the secret.
pub fn mounts_internal_secret(pod: &PodSpec) -> bool {
    pod.volumes.iter().flatten().any(|volume| volume.name == SECRET_VOLUME)
}

pub(crate) fn args(stage: SecretUse) -> Vec<String> {
    let set = |key: &str, value: &str| ["--override".to_owned(), format!("{key}={value}")];
    let file = format!("{SECRET_DIR}/{SECRET_KEY}");
    let mut args = set("barnabas.internal.secret.file", &file).to_vec();
    if stage == SecretUse::Given {
        args.extend(set("barnabas.internal.secret.required", "false"));
    }
    args
}

pub(crate) fn volume(input: &ClusterInput<'_>) -> Volume {
    Volume {
        name: SECRET_VOLUME.into(),
        secret: Some(SecretVolumeSource {
            secret_name: Some(input.names().internal_secret()),
            default_mode: Some(FILE_MODE),
            ..SecretVolumeSource::default()
        }),
        ..Volume::default()
    }
}
