//! Alerts and dashboards ask for metrics that exist: every name is found in the source that
//! registers it.

use std::collections::BTreeSet;
use std::fs;

use anyhow::{Context, Result};

use super::CHART;
use crate::run::root;

const PREFIX: &str = "barnabas_";
/// Where metrics are registered, and what is put before the names there. The longer prefix first.
const SOURCES: &[(&str, &str)] = &[
    ("barnabas_operator_", "operator/src/runtime/metrics.rs"),
    (PREFIX, "broker/process/src/metrics.rs"),
];
/// What a histogram adds to its name.
const ADDED: &[&str] = &["_bucket", "_count", "_sum"];

pub fn check() -> Result<Vec<String>> {
    let chart = root().join(CHART);
    let mut files = vec![chart.join("files/alerts.yaml")];
    for entry in fs::read_dir(chart.join("files/dashboards"))? {
        files.push(entry?.path());
    }
    let mut sources = Vec::new();
    for (prefix, source) in SOURCES {
        sources.push((*prefix, fs::read_to_string(root().join(source)).context(*source)?));
    }
    let mut wrong = Vec::new();
    for file in files {
        let text = fs::read_to_string(&file)?;
        let unknown = names(&text).into_iter().filter(|name| !exists(name, &sources));
        let file = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
        wrong.extend(unknown.map(|name| format!("{file}: there is no metric {name}")));
    }
    Ok(wrong)
}

/// Every word that begins as our metrics do.
pub fn names(text: &str) -> BTreeSet<String> {
    text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_')
        .filter(|word| word.starts_with(PREFIX))
        .map(str::to_owned)
        .collect()
}

pub fn exists(name: &str, sources: &[(&str, String)]) -> bool {
    let Some((prefix, source)) = sources.iter().find(|(prefix, _)| name.starts_with(prefix)) else {
        return false;
    };
    let base = ADDED.iter().find_map(|added| name.strip_suffix(added)).unwrap_or(name);
    [name, base].iter().any(|name| {
        let short = name.strip_prefix(prefix).unwrap_or(name);
        source.contains(&format!("\"{short}\"")) || source.contains(&format!("\"{name}\""))
    })
}
