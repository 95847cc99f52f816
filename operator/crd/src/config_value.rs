//! A configuration value as people write it in YAML: a string, a whole number or a boolean.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

/// One value of a `config` map. Kafka takes every value as text; YAML may give it unquoted.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum ConfigValue {
    Bool(bool),
    Integer(i64),
    Float(f64),
    Text(String),
    /// A list, a map or nothing: the API server cannot refuse it, so it must not make the whole
    /// resource unreadable. No broker takes it.
    Other(serde_json::Value),
}

impl ConfigValue {
    /// The text that Kafka takes; `None` where it is not one value.
    pub fn scalar(&self) -> Option<String> {
        match self {
            ConfigValue::Other(_) => None,
            _ => Some(self.to_string()),
        }
    }
}

impl fmt::Display for ConfigValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ConfigValue::Bool(value) => value.fmt(f),
            ConfigValue::Integer(value) => value.fmt(f),
            ConfigValue::Float(value) => value.fmt(f),
            ConfigValue::Text(value) => value.fmt(f),
            ConfigValue::Other(value) => value.fmt(f),
        }
    }
}

impl JsonSchema for ConfigValue {
    fn schema_name() -> Cow<'static, str> {
        "ConfigValue".into()
    }

    /// A structural schema cannot have four alternatives of scalar types, so the type is left
    /// open and the API server keeps what it is given.
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "x-kubernetes-preserve-unknown-fields": true })
    }
}
