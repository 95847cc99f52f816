//! The brokers' shared secret: who sees it, and what its introduction restarts.

use k8s_openapi::api::core::v1::PodTemplateSpec;

use super::{FULL, MINIMAL, build, cluster, input};
use crate::{ClusterInput, SecretUse, internal_secret, mounts_internal_secret, objects};

const TEXT: &str = "0123456789abcdef";

fn template(input: &ClusterInput<'_>) -> PodTemplateSpec {
    objects(input).stateful_set.spec.unwrap().template
}

#[test]
fn the_secret_belongs_to_its_cluster_and_cannot_be_changed() {
    let cluster = cluster(MINIMAL);
    let secret = internal_secret(&input(&cluster), TEXT);
    assert_eq!(secret.metadata.name.as_deref(), Some("castle-internal"));
    assert_eq!(secret.metadata.namespace.as_deref(), Some("keep"));
    assert_eq!(secret.immutable, Some(true));
    let owner = &secret.metadata.owner_references.unwrap()[0];
    assert_eq!((owner.kind.as_str(), owner.uid.as_str()), ("KafkaCluster", super::UID));
    assert_eq!(secret.data.unwrap()["secret"].0, TEXT.as_bytes());
}

#[test]
fn pods_read_it_from_a_file_that_no_config_map_holds() {
    for spec in [MINIMAL, FULL] {
        let objects = build(&cluster(spec));
        let files = serde_json::to_string(&objects.config_map).unwrap();
        assert!(!files.contains("secret"), "{files}");
        let pod = objects.stateful_set.spec.unwrap().template.spec.unwrap();
        assert!(mounts_internal_secret(&pod));
        let volumes = pod.volumes.as_ref().unwrap();
        let volume = volumes.iter().find_map(|v| v.secret.as_ref()).unwrap();
        assert_eq!(volume.secret_name.as_deref(), Some("castle-internal"));
        assert_eq!(volume.default_mode, Some(0o440), "nobody but the broker's group");
        let args = pod.containers[0].args.as_ref().unwrap();
        let file = "barnabas.internal.secret.file=/etc/barnabas-internal/secret";
        assert_eq!(args[args.len() - 2..], ["--override", file]);
    }
}

/// A cluster from before there was a secret gets it by one roll, and demands it by another one.
#[test]
fn the_stages_differ_by_their_pods_only() {
    let cluster = cluster(FULL);
    let required = input(&cluster);
    let given = ClusterInput { secret: SecretUse::Given, ..required };
    assert_eq!(objects(&given).config_map, objects(&required).config_map);
    let mut template = template(&given);
    assert_ne!(template, super::secret::template(&required));
    let args = template.spec.as_mut().unwrap().containers[0].args.as_mut().unwrap();
    assert_eq!(args.pop().unwrap(), "barnabas.internal.secret.required=false");
    assert_eq!(args.pop().unwrap(), "--override");
    assert_eq!(template, super::secret::template(&required));
}
