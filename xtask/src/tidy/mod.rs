//! The rules of the house that no compiler checks. Every finding names the place and the rule; all
//! are listed at once. The same check runs as a test.

mod circles;
mod documents;
mod edges;
mod figures;
mod finding;
mod glossary;
mod paths;
mod scan;
mod sources;

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

use crate::run;
use circles::Circles;
use figures::Measured;
use finding::{Finding, finding};

/// Everything that may stand at the root of the repository.
const ROOT: &[&str] = &[
    ".cargo",
    ".ci",
    ".clippy.toml",
    ".dockerignore",
    ".github",
    ".gitignore",
    ".rustfmt.toml",
    "BENCHMARKS.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "Cargo.lock",
    "Cargo.toml",
    "Dockerfile",
    "LICENSE",
    "README.md",
    "broker",
    "charts",
    "crds",
    "e2e",
    "manifests",
    "operator",
    "rust-toolchain.toml",
    "xtask",
];

/// Fails with the list of all findings.
pub fn run() -> Result<()> {
    let files = files()?;
    let circles = Circles::of(&files)?;
    let measured = figures::measure_all(&files)?;
    println!("{}", measured.report(&circles));
    let found = findings(&files, &circles, &measured)?;
    if found.is_empty() {
        println!("==> tidy: nothing to tidy");
        return Ok(());
    }
    let lines: Vec<String> = found.iter().map(ToString::to_string).collect();
    bail!("{} findings\n{}", found.len(), lines.join("\n"))
}

pub fn check() -> Result<Vec<Finding>> {
    let files = files()?;
    findings(&files, &Circles::of(&files)?, &figures::measure_all(&files)?)
}

fn findings(files: &[PathBuf], circles: &Circles, measured: &Measured) -> Result<Vec<Finding>> {
    let mut found = root_entries(files);
    found.extend(sources::check(files)?);
    found.extend(edges::check()?);
    found.extend(circles.check());
    found.extend(measured.check());
    found.extend(documents::check(files)?);
    found.extend(glossary::check(files)?);
    found.sort();
    Ok(found)
}

/// All files that are or would be part of the repository, relative to its root.
fn files() -> Result<Vec<PathBuf>> {
    let mut git = Command::new("git");
    git.current_dir(run::root());
    git.args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"]);
    let output = git.output().context("git")?;
    ensure!(output.status.success(), "git ls-files failed");
    let text = String::from_utf8(output.stdout)?;
    let root = run::root();
    let mut files: Vec<PathBuf> =
        text.split('\0').filter(|name| !name.is_empty()).map(PathBuf::from).collect();
    // A file that is deleted but not yet committed is still listed.
    files.retain(|file| root.join(file).symlink_metadata().is_ok());
    files.sort();
    files.dedup();
    Ok(files)
}

fn root_entries(files: &[PathBuf]) -> Vec<Finding> {
    let mut found: Vec<Finding> = files
        .iter()
        .filter_map(|file| file.iter().next()?.to_str())
        .filter(|entry| !ROOT.contains(entry))
        .map(|entry| finding(entry, "is not in the list of root entries"))
        .collect();
    found.dedup();
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_listed_at_the_root_is_a_finding() {
        let files = ["README.md", "broker/a.rs", "notes/b.md", "notes/c.md"].map(PathBuf::from);
        let rule = "is not in the list of root entries";
        assert_eq!(root_entries(&files), [finding("notes", rule)]);
    }
}
