//! What the chart's README tells of the resources: every annotation and label under our name that
//! the operator reads or writes, and what `kubectl get` prints.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use serde_json::Value;

use super::objects::Objects;
use super::{CHART, CRDS};
use crate::run::root;

const PREFIX: &str = "barnabas.dev/";
/// Where the operator's names are written down.
const SOURCES: &[&str] = &["operator/src", "operator/build/src", "operator/crd/src"];
/// The heading of the table.
const TABLE: &str = "| annotation or label ";

pub fn check() -> Result<Vec<String>> {
    let readme = fs::read_to_string(root().join(CHART).join("README.md"))?;
    let mut known = BTreeSet::new();
    for source in SOURCES {
        collect(&root().join(source), &mut known)?;
    }
    let told = table(&readme);
    let mut wrong: Vec<String> =
        known.difference(&told).map(|name| format!("README.md does not tell of {name}")).collect();
    wrong.extend(told.difference(&known).map(|name| format!("README.md: nothing reads {name}")));
    for (resource, file) in [("kafkaclusters", "kafkaclusters"), ("topics", "topics")] {
        let text = fs::read_to_string(root().join(format!("{CRDS}/{file}.barnabas.dev.yaml")))?;
        let heading = heading(&Objects::parse(&text)?.0[0]);
        let shown = readme.lines().any(|line| words(line) == heading);
        if !shown {
            wrong.push(format!("README.md shows no {resource} as they are printed: {heading:?}"));
        }
    }
    Ok(wrong)
}

fn collect(dir: &Path, found: &mut BTreeSet<String>) -> Result<()> {
    for entry in fs::read_dir(dir).with_context(|| dir.display().to_string())? {
        let path = entry?.path();
        if path.is_dir() {
            // Tests make up names of their own.
            if !path.ends_with("tests") {
                collect(&path, found)?;
            }
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.extend(names(&fs::read_to_string(&path)?));
        }
    }
    Ok(())
}

/// Names under our prefix in strings; versions of the API are none.
fn names(source: &str) -> BTreeSet<String> {
    let opened = format!("\"{PREFIX}");
    let rests = source.split(&opened).skip(1);
    let name = |rest: &str| {
        let end = rest.find(|c: char| !c.is_ascii_lowercase() && c != '-').unwrap_or(rest.len());
        (!rest[..end].is_empty() && &rest[..end] != "v")
            .then(|| format!("{PREFIX}{}", &rest[..end]))
    };
    rests.filter_map(name).collect()
}

/// First cells of the table of annotations.
fn table(readme: &str) -> BTreeSet<String> {
    let rows = readme.lines().skip_while(|line| !line.starts_with(TABLE));
    let rows = rows.take_while(|line| line.starts_with('|'));
    rows.filter_map(|row| row.strip_prefix("| `")?.split('`').next().map(str::to_owned)).collect()
}

/// The line of column names that `kubectl get -o wide` prints for a definition.
fn heading(definition: &Value) -> Vec<String> {
    let columns = definition["spec"]["versions"][0]["additionalPrinterColumns"].as_array();
    let names = columns.into_iter().flatten().filter_map(|column| column["name"].as_str());
    ["NAME".to_owned()].into_iter().chain(names.map(str::to_uppercase)).collect()
}

fn words(line: &str) -> Vec<String> {
    line.split_whitespace().map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_from_strings_only() {
        let source = "const A: &str = \"barnabas.dev/a-b\"; // barnabas.dev/c\n\
            format!(\"barnabas.dev/d={}\") \"barnabas.dev/v1alpha1\"";
        assert_eq!(
            names(source).into_iter().collect::<Vec<_>>(),
            ["barnabas.dev/a-b", "barnabas.dev/d"]
        );
    }
}
