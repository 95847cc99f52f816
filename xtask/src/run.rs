//! Running cargo and its products from the root of the work tree.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

/// The root of the work tree.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The cargo that runs this tool. It builds as if it was called from a shell: build scripts run
/// again when what cargo says of the running package changes (`ring`'s), and all above them too.
pub fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root());
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("CARGO_PKG_") || text.starts_with("CARGO_MANIFEST_") {
            command.env_remove(&name);
        }
    }
    command
}

/// Runs a command to its end; it must succeed. Says how long it took.
pub fn step(name: &str, command: &mut Command) -> Result<()> {
    println!("==> {name}");
    let start = Instant::now();
    let status = command.status().with_context(|| format!("cannot start {command:?}"))?;
    println!("==> {name}: {:.0} s", start.elapsed().as_secs_f64());
    ensure!(status.success(), "{name} failed: {command:?}: {status}");
    Ok(())
}

/// Builds and runs a program of the workspace with optimisations.
pub fn program(package: &str, name: &str, arguments: &[String]) -> Result<()> {
    let mut command = cargo();
    command.args(["run", "--quiet", "--release", "--package", package, "--bin", name, "--"]);
    let status = command.args(arguments).status()?;
    ensure!(status.success(), "{name} failed: {status}");
    Ok(())
}

/// The packages of the workspace, as `cargo metadata` describes them.
pub fn packages() -> Result<Vec<Value>> {
    let mut metadata = cargo();
    metadata.args(["metadata", "--no-deps", "--format-version", "1", "--offline"]);
    let output = metadata.output().context("cargo metadata")?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let mut metadata: Value = serde_json::from_slice(&output.stdout)?;
    match metadata["packages"].take() {
        Value::Array(packages) => Ok(packages),
        _ => bail!("cargo metadata names no packages"),
    }
}

/// The directory of a package.
pub fn directory(package: &Value) -> Result<&Path> {
    let manifest = package["manifest_path"].as_str().context("manifest_path")?;
    Path::new(manifest).parent().context("a manifest without a directory")
}
