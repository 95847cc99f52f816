//! What is installed: `crds/` is what the types say, small enough for `kubectl apply`, and made of
//! what a structural schema may have.

#![allow(clippy::unwrap_used)]

use std::path::Path;

use serde_json::Value;

/// `kubectl apply` keeps the whole object in an annotation, and those end at 262,144 bytes.
const BYTES_MAX: usize = 200_000;

#[test]
fn the_files_are_what_the_types_say() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../crds");
    let files = crd::files().unwrap();
    for (name, text) in &files {
        let found = std::fs::read_to_string(directory.join(name)).unwrap_or_default();
        assert!(found == *text, "crds/{name} is stale: run `cargo run -p crd --bin crdgen`");
    }
    let mut expected: Vec<&str> = files.iter().map(|(name, _)| name.as_str()).collect();
    let mut found: Vec<String> = std::fs::read_dir(&directory)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    expected.sort_unstable();
    found.sort_unstable();
    assert_eq!(found, expected);
}

#[test]
fn kubectl_apply_takes_them() {
    for definition in crd::definitions() {
        let bytes = serde_json::to_vec(&definition).unwrap().len();
        assert!(bytes < BYTES_MAX, "{:?}: {bytes} bytes", definition.metadata.name);
    }
}

/// What the API server would refuse or ignore: values without a type, forms that a structural
/// schema lacks, null for what may be left out.
#[test]
fn schemas_are_structural() {
    fn check(path: &str, schema: &Value) {
        for key in ["$ref", "definitions", "oneOf", "anyOf", "allOf", "not", "nullable", "title"] {
            assert!(schema.get(key).is_none(), "{key} at {path}");
        }
        let typed = schema.get("type").is_some()
            || schema.get("x-kubernetes-int-or-string") == Some(&Value::Bool(true));
        assert!(typed, "no type at {path}: {schema}");
        for (name, property) in schema["properties"].as_object().into_iter().flatten() {
            check(&format!("{path}.{name}"), property);
        }
        for inner in ["items", "additionalProperties"] {
            if let Some(schema) = schema.get(inner) {
                check(&format!("{path}[]"), schema);
            }
        }
    }
    for definition in crd::definitions() {
        for version in definition.spec.versions {
            let schema = version.schema.unwrap().open_api_v3_schema.unwrap();
            check("", &serde_json::to_value(schema).unwrap());
        }
    }
}

#[test]
fn one_stream_has_all_of_them() {
    let text = crd::all_yaml().unwrap();
    assert_eq!(text.matches("\nkind: CustomResourceDefinition\n").count(), 2);
    assert_eq!(text.matches("---\n").count(), 1);
}

#[test]
fn the_scale_subresource_finds_its_fields() {
    let definition = crd::definitions().remove(0);
    let scale = definition.spec.versions[0].subresources.clone().unwrap().scale.unwrap();
    assert_eq!(scale.spec_replicas_path, ".spec.brokers.replicas");
    assert_eq!(scale.status_replicas_path, ".status.replicas");
    assert_eq!(scale.label_selector_path.as_deref(), Some(".status.selector"));
}

/// A broker takes up to thirty seconds to hand its leaders off; killed before, it has to recover.
#[test]
fn no_broker_is_given_too_little_time_to_stop() {
    let definition = crd::definitions().remove(0);
    let version = definition.spec.versions.into_iter().next().unwrap();
    let schema = serde_json::to_value(version.schema.unwrap().open_api_v3_schema.unwrap()).unwrap();
    let field = "/properties/spec/properties/brokers/properties/podTemplate/properties/\
                 terminationGracePeriodSeconds/minimum";
    assert_eq!(schema.pointer(field).and_then(Value::as_f64), Some(35.0));
}

/// `kubectl explain` is where people look what a field means.
#[test]
fn the_fields_that_people_edit_are_explained() {
    let definition =
        crd::definitions().into_iter().find(|d| d.spec.names.kind == "KafkaCluster").unwrap();
    let version = definition.spec.versions.into_iter().next().unwrap();
    let schema = serde_json::to_value(version.schema.unwrap().open_api_v3_schema.unwrap()).unwrap();
    let spec = &schema["properties"]["spec"]["properties"];
    for (path, field) in [
        ("/brokers/properties/resources", "requests"),
        ("/brokers/properties/podTemplate/properties/affinity", "podAntiAffinity"),
        ("/brokers/properties/podTemplate/properties/tolerations/items", "effect"),
        ("/brokers/properties/podTemplate/properties/env/items", "name"),
        ("/networkPolicy/properties/clients/items", "ipBlock"),
    ] {
        let at = spec.pointer(path).unwrap_or_else(|| panic!("{path}"));
        let said = at["properties"][field]["description"].as_str();
        assert!(said.is_some_and(|text| text.len() > 10), "{path} {field}: {said:?}");
    }
}
