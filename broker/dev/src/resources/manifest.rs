//! YAML files of resources, as `kubectl apply -f` takes them: several documents per file, other
//! kinds passed over.

use std::sync::LazyLock;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use thiserror::Error;

use super::{GROUP, KafkaCluster, Topic, VERSION, schema};

/// The schema of the spec, as a definition has it.
type SpecSchema = LazyLock<Result<Value, String>>;

static CLUSTERS: SpecSchema =
    LazyLock::new(|| spec_of(include_str!("../../../../crds/kafkaclusters.barnabas.dev.yaml")));
static TOPICS: SpecSchema =
    LazyLock::new(|| spec_of(include_str!("../../../../crds/topics.barnabas.dev.yaml")));

fn spec_of(definition: &str) -> Result<Value, String> {
    let mut definition: Value = serde_yaml::from_str(definition).map_err(|e| e.to_string())?;
    let schema = &mut definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
    Ok(schema["properties"]["spec"].take())
}

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
    #[error("document {document}: {problem}")]
    Unreadable { document: usize, problem: String },
    #[error("document {document}: {kind} {name}: {problem}")]
    Resource { document: usize, kind: String, name: String, problem: String },
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
        let value = Value::deserialize(part).map_err(|error| unreadable(document, &error))?;
        if !value.is_null() {
            manifests.push(parse_document(document, value)?);
        }
    }
    Ok(manifests)
}

fn parse_document(document: usize, value: Value) -> Result<Manifest, ManifestError> {
    let head = Head::deserialize(&value).map_err(|error| unreadable(document, &error))?;
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
        "KafkaCluster" => read(value, &CLUSTERS).map(|c| Manifest::Cluster(Box::new(c))),
        "Topic" => read(value, &TOPICS).map(|t| Manifest::Topic(Box::new(t))),
        _ => return Err(ManifestError::UnknownKind { document, kind }),
    };
    parsed.map_err(|problem| ManifestError::Resource { document, kind, name, problem })
}

fn unreadable(document: usize, error: &dyn std::fmt::Display) -> ManifestError {
    ManifestError::Unreadable { document, problem: error.to_string() }
}

fn read<T: DeserializeOwned>(mut resource: Value, schema: &SpecSchema) -> Result<T, String> {
    // What Kubernetes knows of every resource is not in its definition.
    let mut spec = resource["spec"].take();
    schema::admit(&mut spec, schema.as_ref()?, "spec")?;
    resource["spec"] = spec;
    serde_json::from_value(resource).map_err(|error| error.to_string())
}

#[cfg(test)]
#[path = "manifest_tests.rs"]
mod tests;
