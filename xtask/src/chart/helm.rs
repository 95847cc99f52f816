//! Helm: found, or built from its Go module where there is none.

use std::path::PathBuf;
use std::process::{Command, Output};

use anyhow::{Context, Result, ensure};

use super::{CHART, NAMESPACE, RELEASE};
use crate::run::{root, step};

const MODULE: &str = "helm.sh/helm/v3/cmd/helm@v3.19.0";
/// A Helm that was built from its module believes in Kubernetes 1.20.
const KUBERNETES: &str = "1.34.0";

pub struct Helm {
    program: PathBuf,
}

impl Helm {
    /// `$HELM`, the PATH, the cache; else it is built into the cache, which needs Go.
    pub fn find() -> Result<Helm> {
        if let Some(program) = std::env::var_os("HELM") {
            return Ok(Helm { program: program.into() });
        }
        let cache = cache()?;
        let own = cache.join("bin/helm");
        let candidates = ["helm".into(), cache.join("kind/bin/helm"), own.clone()];
        for program in candidates {
            let version = Command::new(&program).arg("version").output();
            if version.is_ok_and(|output| output.status.success()) {
                return Ok(Helm { program });
            }
        }
        let mut build = Command::new("go");
        build.env("GOBIN", cache.join("bin")).env("CGO_ENABLED", "0").args(["install", MODULE]);
        step("build helm", &mut build)?;
        Ok(Helm { program: own })
    }

    pub fn program(&self) -> &PathBuf {
        &self.program
    }

    /// The chart rendered; it must render.
    pub fn template(&self, arguments: &[&str]) -> Result<String> {
        let output = self.try_template(arguments)?;
        let error = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "helm template {}: {error}", arguments.join(" "));
        Ok(String::from_utf8(output.stdout)?)
    }

    pub fn try_template(&self, arguments: &[&str]) -> Result<Output> {
        let mut command = Command::new(&self.program);
        command.current_dir(root()).args(["template", RELEASE, CHART, "--namespace", NAMESPACE]);
        command.args(["--kube-version", KUBERNETES]).args(arguments);
        command.output().context("start helm")
    }

    pub fn lint(&self, values: &str) -> Result<()> {
        let mut command = Command::new(&self.program);
        command.current_dir(root()).args(["lint", "--strict", "--quiet", CHART, "-f", values]);
        let output = command.args(["--kube-version", KUBERNETES]).output().context("start helm")?;
        let text = String::from_utf8_lossy(&output.stdout);
        ensure!(output.status.success(), "helm lint -f {values}: {text}");
        Ok(())
    }
}

/// As the tests with real clients: `BARNABAS_CACHE`, or `barnabas` in the user's cache directory.
pub fn cache() -> Result<PathBuf> {
    if let Some(dir) = std::env::var_os("BARNABAS_CACHE") {
        return Ok(dir.into());
    }
    if let Some(dir) = std::env::var_os("XDG_CACHE_HOME") {
        return Ok(PathBuf::from(dir).join("barnabas"));
    }
    let home = std::env::var_os("HOME").context("neither HOME nor BARNABAS_CACHE is set")?;
    Ok(PathBuf::from(home).join(".cache/barnabas"))
}
