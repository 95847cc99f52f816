//! The short loop: what takes less than a minute while a change is being written. It looks at what
//! differs from main, and says less than `cargo x ci`, never more.

use std::collections::BTreeSet;
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::run::{self, cargo, root, step};
use crate::tidy;

/// Packages whose tests start processes or clusters.
const SLOW: &[&str] = &["e2e", "kind-e2e"];

/// Tidy, format, then lints and unit tests of the packages with changed files.
pub fn run() -> Result<()> {
    tidy::run()?;
    step("format", cargo().args(["fmt", "--all", "--check"]))?;
    let changed = changed()?;
    let packages = owners(&packages()?, &changed);
    if packages.is_empty() {
        println!("==> check: no package differs from main");
        return Ok(());
    }
    let named = |command: &mut Command, packages: &[&String]| {
        for package in packages {
            command.args(["--package", package.as_str()]);
        }
    };
    let mut clippy = cargo();
    clippy.args(["clippy", "--quiet", "--all-targets"]);
    named(&mut clippy, &packages.iter().collect::<Vec<_>>());
    step("lints", clippy.args(["--", "-D", "warnings"]))?;
    let tested: Vec<&String> = packages.iter().filter(|p| !SLOW.contains(&p.as_str())).collect();
    if tested.is_empty() {
        return Ok(());
    }
    let mut test = cargo();
    test.args(["test", "--quiet", "--lib", "--bins"]);
    named(&mut test, &tested);
    step("unit tests", &mut test)
}

/// Files that differ from main, committed or not.
fn changed() -> Result<Vec<String>> {
    let git = |arguments: &[&str]| -> Result<String> {
        let output = Command::new("git").current_dir(root()).args(arguments).output();
        let output = output.context("start git")?;
        ensure!(output.status.success(), "git {}", arguments.join(" "));
        Ok(String::from_utf8(output.stdout)?)
    };
    // On main itself that is what is not committed.
    let base = git(&["merge-base", "HEAD", "main"]).unwrap_or_else(|_| "HEAD".into());
    let mut files = git(&["diff", "--name-only", base.trim()])?;
    files.push_str(&git(&["ls-files", "--others", "--exclude-standard"])?);
    Ok(files.lines().map(str::to_owned).collect())
}

/// Names and directories, relative to the root, of the workspace's packages.
fn packages() -> Result<Vec<(String, String)>> {
    let root = root().canonicalize()?;
    let described = run::packages()?;
    let described = described.iter().map(|package| {
        let name = package["name"].as_str().context("a package without a name")?;
        let dir = run::directory(package)?.strip_prefix(&root)?;
        Ok((name.to_owned(), dir.to_string_lossy().into_owned()))
    });
    described.collect()
}

/// The packages that the files belong to: those with the longest directory above them.
fn owners(packages: &[(String, String)], files: &[String]) -> BTreeSet<String> {
    let owner = |file: &String| {
        let above = packages.iter().filter(|(_, dir)| file.starts_with(&format!("{dir}/")));
        above.max_by_key(|(_, dir)| dir.len()).map(|(name, _)| name.clone())
    };
    files.iter().filter_map(owner).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_belongs_to_the_innermost_package() {
        let packages =
            [("broker", "broker"), ("wire", "broker/wire")].map(|(n, d)| (n.into(), d.into()));
        let files = ["broker/wire/src/a.rs", "broker/src/b.rs", "README.md"].map(String::from);
        let owners: Vec<String> = owners(&packages, &files).into_iter().collect();
        assert_eq!(owners, ["broker", "wire"]);
    }
}
