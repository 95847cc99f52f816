//! Every value that the chart has stands in its README, and nothing else does.

use std::collections::BTreeSet;
use std::fs;

use anyhow::{Context, Result};
use serde_json::Value;

use super::CHART;
use crate::run::root;

pub fn check() -> Result<Vec<String>> {
    let chart = root().join(CHART);
    let read = |name: &str| fs::read_to_string(chart.join(name)).context(name.to_owned());
    let values: Value = serde_yaml::from_str(&read("values.yaml")?)?;
    let schema: Value = serde_json::from_str(&read("values.schema.json")?)?;
    let mut known = BTreeSet::new();
    leaves(&schema["properties"], String::new(), &mut known);
    known.remove("global");
    let told = table(&read("README.md")?);
    let mut wrong: Vec<String> =
        known.difference(&told).map(|path| format!("README.md has no value {path}")).collect();
    wrong.extend(told.difference(&known).map(|path| format!("README.md: no value is {path}")));
    let mut given = BTreeSet::new();
    defaults(&values, String::new(), &known, &mut given);
    wrong.extend(given.difference(&known).map(|path| format!("the schema has no {path}")));
    Ok(wrong)
}

/// Paths of a schema's properties down to those that have none of their own.
fn leaves(properties: &Value, path: String, found: &mut BTreeSet<String>) {
    for (name, property) in properties.as_object().into_iter().flatten() {
        let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
        match &property["properties"] {
            inner if inner.is_object() && name != "resources" => leaves(inner, path, found),
            _ => {
                found.insert(path);
            }
        }
    }
}

/// Paths of the default values, down to those that the schema knows.
fn defaults(values: &Value, path: String, known: &BTreeSet<String>, found: &mut BTreeSet<String>) {
    match values.as_object() {
        Some(inner) if path.is_empty() || !known.contains(&path) && !inner.is_empty() => {
            for (name, value) in inner {
                let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                defaults(value, path, known, found);
            }
        }
        _ => {
            found.insert(path);
        }
    }
}

/// First cells of the README's table of values: rows such as "| `a.b` | ...".
pub fn table(readme: &str) -> BTreeSet<String> {
    let rows = readme.lines().skip_while(|line| !line.starts_with("| value "));
    let rows = rows.take_while(|line| line.starts_with('|'));
    rows.filter_map(|row| row.strip_prefix("| `")?.split('`').next().map(str::to_owned)).collect()
}
