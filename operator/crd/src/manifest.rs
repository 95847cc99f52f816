//! YAML files of resources, as `kubectl apply -f` takes them: several documents per file, other
//! kinds passed over.

use serde::Deserialize;
use thiserror::Error;

use crate::{GROUP, KafkaCluster, Topic, VERSION};

/// One resource of a YAML file.
#[derive(Clone, Debug)]
pub enum Manifest {
    Cluster(Box<KafkaCluster>),
    Topic(Box<Topic>),
    /// A resource of another API group: its kind, for a message to the user.
    Other(String),
}

/// Why a YAML file cannot be taken. `document` counts from 1.
#[derive(Debug, Error)]
pub enum ManifestError {
    #[error("document {document}: {source}")]
    Yaml { document: usize, source: serde_yaml::Error },
    #[error("document {document}: {kind} {name}: {source}")]
    Resource { document: usize, kind: String, name: String, source: serde_yaml::Error },
    #[error(
        "document {document}: kind {kind} of {GROUP} is unknown; it has KafkaCluster and Topic"
    )]
    UnknownKind { document: usize, kind: String },
    #[error("document {document}: {api_version} is not served; use {GROUP}/{VERSION}")]
    UnknownVersion { document: usize, api_version: String },
    #[error("document {document}: {kind} needs metadata.name")]
    NoName { document: usize, kind: String },
}

#[derive(Deserialize)]
struct Head {
    #[serde(rename = "apiVersion")]
    api_version: String,
    kind: String,
    #[serde(default)]
    metadata: HeadMetadata,
}

#[derive(Default, Deserialize)]
struct HeadMetadata {
    #[serde(default)]
    name: String,
}

/// The resources of a file, in the file's order.
pub fn parse_manifests(text: &str) -> Result<Vec<Manifest>, ManifestError> {
    let mut manifests = Vec::new();
    for (i, part) in serde_yaml::Deserializer::from_str(text).enumerate() {
        let document = i + 1;
        let value = serde_yaml::Value::deserialize(part)
            .map_err(|source| ManifestError::Yaml { document, source })?;
        if !value.is_null() {
            manifests.push(parse_document(document, value)?);
        }
    }
    Ok(manifests)
}

fn parse_document(document: usize, value: serde_yaml::Value) -> Result<Manifest, ManifestError> {
    let head: Head = serde_yaml::from_value(value.clone())
        .map_err(|source| ManifestError::Yaml { document, source })?;
    let (group, version) = head.api_version.split_once('/').unwrap_or(("", &head.api_version));
    if group != GROUP {
        return Ok(Manifest::Other(head.kind));
    }
    if version != VERSION {
        return Err(ManifestError::UnknownVersion { document, api_version: head.api_version });
    }
    let (kind, name) = (head.kind, head.metadata.name);
    if name.is_empty() {
        return Err(ManifestError::NoName { document, kind });
    }
    let parsed = match kind.as_str() {
        "KafkaCluster" => serde_yaml::from_value(value).map(|c| Manifest::Cluster(Box::new(c))),
        "Topic" => serde_yaml::from_value(value).map(|t| Manifest::Topic(Box::new(t))),
        _ => return Err(ManifestError::UnknownKind { document, kind }),
    };
    parsed.map_err(|source| ManifestError::Resource { document, kind, name, source })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const CLUSTER: &str = "apiVersion: barnabas.dev/v1alpha1\nkind: KafkaCluster\n\
        metadata: {name: a}\n\
        spec: {brokers: {replicas: 3}, config: {min.insync.replicas: 2}}\n";

    #[test]
    fn documents_of_one_file() {
        let text = format!(
            "---\n{CLUSTER}---\napiVersion: v1\nkind: Namespace\nmetadata: {{name: n}}\n---\n\
             apiVersion: barnabas.dev/v1alpha1\nkind: Topic\nmetadata: {{name: t}}\n\
             spec: {{clusterRef: {{name: a}}, partitions: 6, config: {{retention.ms: 1000}}}}\n"
        );
        let all = parse_manifests(&text).unwrap();
        let [Manifest::Cluster(cluster), Manifest::Other(other), Manifest::Topic(topic)] = &all[..]
        else {
            panic!("{all:?}")
        };
        assert_eq!(cluster.spec.voters(), 3);
        assert_eq!(cluster.spec.listeners[0].port, 9092);
        assert_eq!(cluster.spec.config["min.insync.replicas"].to_string(), "2");
        assert_eq!(other, "Namespace");
        assert_eq!((topic.topic_name(), topic.spec.partitions), ("t", 6));
    }

    #[test]
    fn errors_name_the_document_and_the_field() {
        let check = |text: &str, want: &str| {
            let error = parse_manifests(text).unwrap_err().to_string();
            assert!(error.contains(want), "{error}");
        };
        check(
            &CLUSTER.replace("replicas: 3", "replica: 3"),
            "KafkaCluster a: unknown field `replica`",
        );
        check(&CLUSTER.replace("v1alpha1", "v9"), "barnabas.dev/v9 is not served");
        check(&CLUSTER.replace("KafkaCluster", "Klaster"), "kind Klaster");
        check(&CLUSTER.replace("{name: a}", "{}"), "needs metadata.name");
        check(&format!("{CLUSTER}---\n- a list\n"), "document 2");
    }

    #[test]
    fn schemas_can_be_made() {
        use kube::CustomResourceExt;
        for crd in [KafkaCluster::crd(), Topic::crd()] {
            let text = serde_yaml::to_string(&crd).unwrap();
            assert!(text.contains("x-kubernetes-validations"), "{text}");
        }
    }
}
