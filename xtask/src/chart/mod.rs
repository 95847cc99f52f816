//! The Helm chart and what is made of it: the definitions' copies inside the chart and
//! `manifests/install.yaml`. Written by `cargo x chart`; with `--check` nothing is written and a
//! difference is an error. Either way the chart is linted, rendered in every mode and judged.

pub mod commands;
mod helm;
mod judge;
mod metrics;
mod objects;
mod refusals;
#[cfg(test)]
mod tests;
mod told;
mod values;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use clap::Args;

use crate::run::root;
use helm::Helm;
use objects::Objects;

const CHART: &str = "charts/barnabas-operator";
const CRDS: &str = "crds";
const INSTALL: &str = "manifests/install.yaml";
/// Where our images are: on no registry, so that nobody else's are ever pulled in their place.
pub const IMAGES: &str = "localhost/barnabas";
/// The release and the namespace of `manifests/install.yaml`.
const RELEASE: &str = "barnabas";
const NAMESPACE: &str = "barnabas";

#[derive(Args, Debug)]
pub struct Arguments {
    /// Write nothing; fail where a file is not what it would be.
    #[arg(long)]
    pub check: bool,
}

pub fn run(arguments: &Arguments) -> Result<()> {
    println!("==> chart");
    let helm = Helm::find()?;
    let definitions = definitions()?;
    let mut files = BTreeMap::new();
    for (name, text) in &definitions {
        files.insert(PathBuf::from(format!("{CHART}/files/crds/{name}")), text.clone());
    }
    bring(&files, arguments.check)?;
    no_others(&files)?;
    let install = install(&helm)?;
    bring(&BTreeMap::from([(PathBuf::from(INSTALL), install.clone())]), arguments.check)?;

    let installed = Objects::parse(&install)?;
    let mut modes = vec![("install.yaml", installed)];
    for mode in ["default", "all", "namespaced"] {
        let values = format!("{CHART}/ci/{mode}-values.yaml");
        helm.lint(&values)?;
        modes.push((mode, Objects::parse(&helm.template(&["-f", &values])?)?));
    }
    let definitions = Objects::parse(&join(definitions.values()))?;
    let mut wrong = Vec::new();
    for (mode, objects) in &modes {
        wrong.extend(judge::judge(mode, objects, &definitions));
    }
    wrong.extend(refusals::check(&helm)?);
    wrong.extend(metrics::check()?);
    wrong.extend(values::check()?);
    wrong.extend(told::check()?);
    wrong.extend(commands::check(&helm)?);
    if !wrong.is_empty() {
        bail!("the chart:\n{}", wrong.join("\n"));
    }
    println!("==> chart: {} modes rendered, nothing wrong", modes.len());
    Ok(())
}

/// The image of a program that the chart takes where nobody names another.
pub fn image(program: &str) -> Result<String> {
    let chart = fs::read_to_string(root().join(CHART).join("Chart.yaml"))?;
    let chart: serde_json::Value = serde_yaml::from_str(&chart)?;
    let version = chart["appVersion"].as_str().context("Chart.yaml has no appVersion")?;
    Ok(format!("{IMAGES}/{program}:{version}"))
}

/// The definitions in `crds/`: file name and text.
fn definitions() -> Result<BTreeMap<String, String>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(root().join(CRDS)).context(CRDS)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "yaml") {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            found.insert(name, fs::read_to_string(&path)?);
        }
    }
    ensure!(!found.is_empty(), "{CRDS}/ holds no definition");
    Ok(found)
}

/// What `kubectl apply` takes: the chart as it is by default, in its own namespace.
fn install(helm: &Helm) -> Result<String> {
    let rendered = helm.template(&["--no-hooks", "--skip-tests"])?;
    let mut text = format!(
        "# Everything to install with `kubectl apply --server-side -f`; rendered from the chart by \
         `cargo x chart`.\napiVersion: v1\nkind: Namespace\nmetadata:\n  name: {NAMESPACE}\n  \
         labels:\n    pod-security.kubernetes.io/enforce: restricted\n"
    );
    // Helm looks after none of these objects.
    let helms = |line: &str| {
        let line = line.trim_start();
        line.starts_with("# Source: ")
            || line.starts_with("helm.sh/chart: ")
            || line == "app.kubernetes.io/managed-by: Helm"
    };
    for line in rendered.lines().filter(|line| !helms(line)) {
        text.push_str(line);
        text.push('\n');
    }
    Ok(text)
}

/// Makes each file be this text, or fails where it is another.
fn bring(files: &BTreeMap<PathBuf, String>, check: bool) -> Result<()> {
    let mut stale = Vec::new();
    for (file, text) in files {
        let path = root().join(file);
        if fs::read_to_string(&path).is_ok_and(|found| found == *text) {
            continue;
        }
        if check {
            stale.push(file.display().to_string());
            continue;
        }
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        fs::write(&path, text).with_context(|| file.display().to_string())?;
        println!("    wrote {}", file.display());
    }
    ensure!(stale.is_empty(), "not up to date, run `cargo x chart`: {}", stale.join(", "));
    Ok(())
}

/// A definition that is no longer made must not stay in the chart.
fn no_others(files: &BTreeMap<PathBuf, String>) -> Result<()> {
    for entry in fs::read_dir(root().join(CHART).join("files/crds"))? {
        let file = Path::new(CHART).join("files/crds").join(entry?.file_name());
        ensure!(files.contains_key(&file), "{} is not made of {CRDS}/", file.display());
    }
    Ok(())
}

fn join<'a>(texts: impl Iterator<Item = &'a String>) -> String {
    texts.map(String::as_str).collect::<Vec<_>>().join("\n---\n")
}
