//! Rendered objects, to be asked questions.

use anyhow::{Context, Result};
use serde::Deserialize;
use serde_json::Value;

/// The objects of one rendering.
pub struct Objects(pub Vec<Value>);

impl Objects {
    pub fn parse(text: &str) -> Result<Objects> {
        let mut objects = Vec::new();
        for (i, document) in serde_yaml::Deserializer::from_str(text).enumerate() {
            let value = Value::deserialize(document)
                .with_context(|| format!("document {} is not YAML", i + 1))?;
            if !value.is_null() {
                objects.push(value);
            }
        }
        Ok(Objects(objects))
    }

    pub fn of<'a>(&'a self, kind: &'a str) -> impl Iterator<Item = &'a Value> {
        self.0.iter().filter(move |object| object["kind"] == kind)
    }

    pub fn find<'a>(&'a self, kind: &'a str, name: &str) -> Option<&'a Value> {
        self.of(kind).find(|object| object["metadata"]["name"] == name)
    }
}

/// `Kind/name`, for messages.
pub fn name(object: &Value) -> String {
    let name = object["metadata"]["name"].as_str().unwrap_or("?");
    format!("{}/{name}", kind(object))
}

pub fn kind(object: &Value) -> &str {
    object["kind"].as_str().unwrap_or("?")
}

/// Whether every label of the selector is on the labels; an empty selector selects nothing here.
pub fn selects(selector: &Value, labels: &Value) -> bool {
    let wanted = selector["matchLabels"].as_object();
    wanted.is_some_and(|wanted| {
        !wanted.is_empty() && wanted.iter().all(|(key, value)| labels[key] == *value)
    })
}

/// Equal, where 1 and 1.0 are the same: a template engine knows only one kind of number.
pub fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => a == b || a.as_f64() == b.as_f64(),
        (Value::Array(a), Value::Array(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b))
        }
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len() && a.iter().all(|(key, a)| b.get(key).is_some_and(|b| same(a, b)))
        }
        _ => a == b,
    }
}
