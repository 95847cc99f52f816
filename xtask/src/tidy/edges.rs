//! Who may depend on whom. The arrows are the architecture: a crate that is not listed, or an arrow
//! that is not, is a finding.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::Result;
use serde_json::Value;

use super::finding::{Finding, finding};
use crate::run;

/// Each crate of the workspace with the crates of the workspace that it may name.
const EDGES: &[(&str, &[&str])] = &[
    ("base", &[]),
    ("record", &["base"]),
    ("wire", &["base", "record"]),
    ("commitlog", &["base", "record"]),
    // One stream under everything that is connected.
    ("transport", &["base"]),
    ("client", &["base", "wire", "transport"]),
    ("replica", &["base"]),
    ("authorizer", &["base"]),
    // Access control lists are part of the metadata; whoever serves asks them.
    ("metadata", &["base", "authorizer"]),
    // Coordinators write `__consumer_offsets` in Kafka's schemas, which `wire` generates.
    ("coordinator", &["base", "record", "wire"]),
    ("quorum", &["base", "metadata", "transport"]),
    ("crd", &[]),
    ("quota", &[]),
    ("base2histogram", &[]),
    ("config", &["base", "authorizer", "metadata"]),
    ("process", &["commitlog", "wire"]),
    (
        "storage",
        &[
            "base",
            "record",
            "wire",
            "commitlog",
            "replica",
            "metadata",
            "quorum",
            "config",
            "process",
        ],
    ),
    (
        "coordination",
        &["base", "record", "commitlog", "metadata", "coordinator", "config", "process", "storage"],
    ),
    ("control", &["base", "metadata", "quorum", "replica", "config", "process", "storage"]),
    (
        "server",
        &[
            "base",
            "transport",
            "authorizer",
            "record",
            "wire",
            "commitlog",
            "client",
            "replica",
            "metadata",
            "coordinator",
            "quorum",
            "config",
            "process",
            "storage",
            "coordination",
            "control",
            "quota",
        ],
    ),
    // The operator's types are for its tests alone.
    ("dev", &["base", "record", "wire", "client", "quorum", "config", "process"]),
    (
        "broker",
        &[
            "base",
            "transport",
            "commitlog",
            "metadata",
            "quorum",
            "config",
            "process",
            "storage",
            "coordination",
            "control",
            "server",
            "dev",
        ],
    ),
    // It runs what ships.
    (
        "sim",
        &[
            "base",
            "record",
            "wire",
            "commitlog",
            "replica",
            "metadata",
            "coordinator",
            "quorum",
            "config",
            "process",
            "storage",
            "coordination",
            "control",
        ],
    ),
    ("plan", &["base", "crd", "metadata"]),
    ("build", &["base", "crd", "metadata"]),
    ("operator", &["base", "crd", "plan", "build", "metadata", "client", "wire"]),
    // The fuzzer knocks at TLS and talks SASL where no client has a socket yet.
    ("e2e", &["base", "record", "wire", "client", "transport", "server", "crd"]),
    ("kind-e2e", &["crd"]),
    ("xtask", &[]),
];

/// Outside crates that only some of ours may name.
const RESERVED: &[(&str, &[&str], &str)] = &[
    ("openraft", &["quorum"], "one crate knows the Raft library"),
    (
        "tokio",
        &[
            "process",
            "storage",
            "coordination",
            "control",
            "server",
            "dev",
            "broker",
            "sim",
            "transport",
            "client",
            "quorum",
            "operator",
            "e2e",
            "kind-e2e",
        ],
        "cores and the log are driven, they do not run tasks",
    ),
    ("kafka-protocol", &["wire"], "an oracle for tests of the codec, not a second codec"),
    ("rustls", &["transport"], "one package knows the TLS library"),
    ("tokio-rustls", &["transport"], "one package knows the TLS library"),
    ("kube", &["crd", "operator", "kind-e2e"], "the broker knows no Kubernetes"),
];

/// Whom a package may name.
pub fn of(package: &str) -> String {
    let edges = EDGES.iter().find(|(name, _)| *name == package);
    edges.map(|(_, edges)| edges.join(" ")).unwrap_or_default()
}

pub fn check() -> Result<Vec<Finding>> {
    let packages = run::packages()?;
    let mut found: Vec<Finding> = packages.iter().flat_map(package).collect();
    for package in &packages {
        found.extend(unused(package)?);
    }
    Ok(found)
}

/// Dependencies that no source of the package names. Those for tests may be in features only.
fn unused(package: &Value) -> Result<Vec<Finding>> {
    let dir = run::directory(package)?;
    let mut sources = String::new();
    for entry in ["src", "build.rs"].map(|name| dir.join(name)) {
        read_sources(&entry, &mut sources)?;
    }
    Ok(unnamed(package, &sources))
}

fn unnamed(package: &Value, sources: &str) -> Vec<Finding> {
    let mut found = Vec::new();
    for dependency in package["dependencies"].as_array().into_iter().flatten() {
        let name = dependency["rename"].as_str().or(dependency["name"].as_str());
        let name = name.unwrap_or_default();
        if dependency["kind"] != "dev" && !names(sources, &name.replace('-', "_")) {
            let package = package["name"].as_str().unwrap_or_default();
            found.push(finding(package, format!("depends on {name} and does not use it")));
        }
    }
    found
}

fn names(sources: &str, name: &str) -> bool {
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    sources.match_indices(name).any(|(at, _)| {
        let (before, after) = (&sources[..at], &sources[at + name.len()..]);
        !before.ends_with(is_word) && !after.starts_with(is_word)
    })
}

fn read_sources(path: &Path, sources: &mut String) -> Result<()> {
    if path.is_dir() {
        for entry in fs::read_dir(path)? {
            read_sources(&entry?.path(), sources)?;
        }
    } else if path.extension().is_some_and(|extension| extension == "rs") && path.exists() {
        sources.push_str(&super::scan::blank(&fs::read_to_string(path)?));
    }
    Ok(())
}

fn package(package: &Value) -> Vec<Finding> {
    let name = package["name"].as_str().unwrap_or_default();
    let edges: BTreeMap<&str, &[&str]> = EDGES.iter().copied().collect();
    let Some(allowed) = edges.get(name) else {
        return vec![finding(name, "is a crate that xtask/src/tidy/edges.rs does not know")];
    };
    let mut found = Vec::new();
    let none = Vec::new();
    for dependency in package["dependencies"].as_array().unwrap_or(&none) {
        let on = dependency["name"].as_str().unwrap_or_default();
        let for_tests = dependency["kind"] == "dev";
        let ours = edges.contains_key(on);
        // A crate may test itself against its neighbours, but never against what stands on it.
        if ours && !allowed.contains(&on) && !(for_tests && below(&edges, on, name)) {
            found.push(finding(name, format!("must not depend on {on}")));
        }
        let reserved = RESERVED.iter().find(|(reserved, _, _)| *reserved == on);
        if let Some((_, users, reason)) = reserved
            && !users.contains(&name)
            && !for_tests
        {
            found.push(finding(name, format!("must not depend on {on}: {reason}")));
        }
    }
    found
}

/// Whether `on` does not, through any arrows, stand on `name`.
fn below(edges: &BTreeMap<&str, &[&str]>, on: &str, name: &str) -> bool {
    let next = edges.get(on).copied().unwrap_or_default();
    on != name && next.iter().all(|next| below(edges, next, name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn depending(name: &str, on: &str, kind: Option<&str>) -> Vec<Finding> {
        package(&json!({ "name": name, "dependencies": [{ "name": on, "kind": kind }] }))
    }

    #[test]
    fn only_listed_arrows_pass() {
        assert!(depending("wire", "record", None).is_empty());
        assert_eq!(depending("record", "wire", None).len(), 1);
        assert_eq!(depending("record", "wire", Some("dev")).len(), 1, "wire stands on record");
        assert!(depending("replica", "commitlog", Some("dev")).is_empty());
        assert_eq!(depending("replica", "tokio", None).len(), 1);
        assert_eq!(depending("broker", "openraft", None).len(), 1);
        assert_eq!(depending("newcomer", "base", None).len(), 1);
    }

    #[test]
    fn a_dependency_that_nobody_names_is_a_finding() {
        let on = |name: &str, kind: Option<&str>| {
            let package = json!({ "name": "p", "dependencies": [{ "name": name, "kind": kind }] });
            unnamed(&package, "use rmp_serde::encode;")
        };
        assert_eq!(on("serde", None), [finding("p", "depends on serde and does not use it")]);
        assert!(on("rmp-serde", None).is_empty());
        assert!(on("proptest", Some("dev")).is_empty(), "it is for tests");
    }

    #[test]
    fn a_dependency_is_used_where_its_name_is_a_word() {
        assert!(names("use serde::Serialize;", "serde"));
        assert!(!names("use serde_json::Value;", "serde"));
        assert!(!names("fn deserder() {}", "serde"));
    }
}
