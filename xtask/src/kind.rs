//! `cargo x kind`: a real Kubernetes cluster in containers, our images in it, and the scenarios on
//! it. How the cluster is made is `e2e/kind/bed`'s matter; this knows the order of things.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use clap::Subcommand;

use crate::chart::{self, IMAGES};
use crate::run::{cargo, root, step};

/// The programs that become images, each a package and its binary of one name.
const PROGRAMS: &[&str] = &["broker", "operator"];

#[derive(Subcommand, Debug)]
pub enum Action {
    /// Makes the cluster, or finds it there; the first time builds its node image.
    Up {
        #[arg(default_value = "dev")]
        name: String,
    },
    /// Deletes the cluster.
    Down {
        #[arg(default_value = "dev")]
        name: String,
    },
    /// Builds the images of this work tree and loads them into the cluster's nodes.
    Load {
        #[arg(default_value = "dev")]
        name: String,
        /// Without most optimisations: built in a fraction of the time, for work on the operator.
        #[arg(long)]
        quick: bool,
    },
    /// Runs the scenarios: the core set, or all of them. Makes and loads the cluster first.
    Test {
        /// Only scenarios whose path contains this.
        #[arg(long)]
        filter: Option<String>,
        /// The whole set.
        #[arg(long)]
        all: bool,
        /// Trust that the cluster is up and loaded.
        #[arg(long)]
        as_is: bool,
        #[arg(long, default_value = "dev")]
        name: String,
    },
}

pub fn run(action: &Action) -> Result<()> {
    match action {
        Action::Up { name } => up(name),
        Action::Down { name } => bed("down.sh", name),
        Action::Load { name, quick } => load(name, *quick),
        Action::Test { filter, all, as_is, name } => {
            if !as_is {
                up(name)?;
                // What an interrupted scenario left behind would stand in the way of the next.
                bed("clean.sh", name)?;
                load(name, false)?;
            }
            test(name, filter.as_deref(), *all)
        }
    }
}

/// The core set on a cluster of its own, which is made for it and deleted afterwards: one that an
/// interrupted run left behind may have any state. After a failure it stays, to be looked at.
pub fn core_set() -> Result<()> {
    const NAME: &str = "ci";
    bed("down.sh", NAME)?;
    up(NAME)?;
    load(NAME, false)?;
    test(NAME, None, false)?;
    bed("down.sh", NAME)
}

fn up(name: &str) -> Result<()> {
    bed("up.sh", name)
}

fn bed(script: &str, name: &str) -> Result<()> {
    let mut command = Command::new("bash");
    command.arg(root().join("e2e/kind/bed").join(script)).arg(name);
    step(&format!("kind: {script} {name}"), &mut command)
}

/// Where the bed keeps its programs and kubeconfigs; `bed/lib.sh` says the same.
fn cache() -> Result<PathBuf> {
    let set = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let barnabas = set("BARNABAS_CACHE")
        .or_else(|| Some(set("XDG_CACHE_HOME")?.join("barnabas")))
        .or_else(|| Some(set("HOME")?.join(".cache/barnabas")));
    Ok(barnabas.context("neither HOME nor BARNABAS_CACHE is set")?.join("kind"))
}

/// A command that finds the bed's programs before others, and its cluster.
fn in_bed(program: &str, name: &str) -> Result<Command> {
    let cache = cache()?;
    let mut path = OsString::from(cache.join("bin"));
    path.push(":");
    path.push(std::env::var_os("PATH").unwrap_or_default());
    let mut command = Command::new("env");
    // `env` looks its argument up on the new path, which `Command` itself would not.
    command.arg(program);
    command.env("PATH", path).env("KUBECONFIG", kubeconfig(&cache, name));
    command.env("DOCKER_BUILDKIT", "1").current_dir(root());
    Ok(command)
}

fn kubeconfig(cache: &Path, name: &str) -> PathBuf {
    cache.join(format!("{name}.kubeconfig"))
}

fn load(name: &str, quick: bool) -> Result<()> {
    let out = root().join("target/images");
    fs::create_dir_all(&out)?;
    for program in PROGRAMS {
        static_program(program, quick, &out)?;
    }
    load_generator(&out)?;
    let mut images = Vec::new();
    for program in PROGRAMS {
        let image = format!("{IMAGES}/{program}:dev");
        let mut build = in_bed("docker", name)?;
        build.args(["build", "--quiet", "--build-arg", "BINARIES=prebuilt"]);
        build.args(["--target", program, "--tag", &image, "."]);
        step(&format!("image {image}"), &mut build)?;
        // Under the name too that somebody who gives no values gets.
        tag(name, &image, chart::image(program)?, &mut images)?;
        images.push(image);
    }
    let mut build = in_bed("docker", name)?;
    build.args(["build", "--quiet", "--tag", "barnabas/load:dev"]);
    build.args(["--file", "e2e/kind/load/Dockerfile", "target/images"]);
    step("image barnabas/load:dev", &mut build)?;
    images.push("barnabas/load:dev".into());
    // The same program under another name is what a change of the image needs.
    let next = format!("{IMAGES}/broker:next");
    tag(name, &format!("{IMAGES}/broker:dev"), next, &mut images)?;
    let mut load = in_bed("kind", name)?;
    load.args(["load", "docker-image", "--name", name]).args(&images);
    step("loading images", &mut load)
}

/// Another name of an image, to be loaded too.
fn tag(name: &str, image: &str, other: String, images: &mut Vec<String>) -> Result<()> {
    let mut tag = in_bed("docker", name)?;
    step(&format!("image {other}"), tag.args(["tag", image, &other]))?;
    images.push(other);
    Ok(())
}

/// Links a program so that it needs no image below it. Only the last step, the link, differs from
/// what every other release build does: libraries know nothing of it, so that a machine which has
/// built the release programs builds nothing twice. The Dockerfile's own stage, which starts from
/// nothing, sets the same flag for all.
fn static_program(program: &str, quick: bool, out: &Path) -> Result<()> {
    let mut build = cargo();
    build.args(["rustc", "--quiet", "--package", program, "--bin", program]);
    build.args(if quick { &[][..] } else { &["--release"] });
    build.args(["--message-format", "json-render-diagnostics", "--"]);
    build.args(["-C", "target-feature=+crt-static"]);
    println!("==> static {program}");
    let output = build.stderr(std::process::Stdio::inherit()).output()?;
    ensure!(output.status.success(), "{program} was not built: {}", output.status);
    let built = executable(&String::from_utf8(output.stdout)?)
        .with_context(|| format!("cargo named no executable for {program}"))?;
    let to = out.join(program);
    // Names of functions stay: a panic in a pod is understood by them.
    let mut strip = Command::new("strip");
    step(&format!("strip {program}"), strip.arg("--strip-debug").arg("-o").arg(&to).arg(&built))
}

/// The last executable that cargo's messages name.
fn executable(messages: &str) -> Option<String> {
    messages.lines().rev().find_map(|line| {
        let message: serde_json::Value = serde_json::from_str(line).ok()?;
        Some(message["executable"].as_str()?.to_owned())
    })
}

/// The judge of every scenario is judged first: its tests are part of no cargo test.
fn load_generator(out: &Path) -> Result<()> {
    let go = || {
        let mut go = Command::new("go");
        go.current_dir(root().join("e2e/kind/load")).env("CGO_ENABLED", "0");
        go
    };
    step("load generator: lints", go().args(["vet", "./..."]))?;
    step("load generator: tests", go().args(["test", "./..."]))?;
    let mut build = go();
    build.args(["build", "-trimpath", "-ldflags", "-s -w", "-o"]).arg(out.join("load")).arg(".");
    step("load generator", &mut build)
}

/// All tests of the workspace are named, and of them only scenarios run: that is what
/// `cargo x ci` has built just before, while cargo builds libraries anew for another selection.
///
/// Scenarios live in the modules `core` and `more` of one test program. One at a time: they stop
/// nodes, and a gap between acknowledgements means something only on a machine that is not busy
/// with another one.
fn test(name: &str, filter: Option<&str>, all: bool) -> Result<()> {
    let logs = root().join("target/kind-logs");
    let mut test = in_bed("cargo", name)?;
    test.env("BARNABAS_KIND", name).env("BARNABAS_KIND_LOGS", &logs);
    test.args(["test", "--quiet", "--workspace", "--tests", "--"]);
    test.args(["--ignored", "--test-threads", "1", "--nocapture"]);
    match (filter, all) {
        (Some(filter), _) => test.arg(filter),
        (None, true) => test.args(["core::", "more::"]),
        (None, false) => test.arg("core::"),
    };
    let outcome = step("scenarios", &mut test);
    if outcome.is_err() {
        println!("==> what the failed scenarios left behind: {}", logs.display());
    }
    outcome
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_executable_is_found_among_other_messages() {
        let messages = "{\"reason\":\"compiler-artifact\",\"executable\":null}\n\
            {\"reason\":\"compiler-artifact\",\"executable\":\"/t/release/broker\"}\n\
            {\"reason\":\"build-finished\",\"success\":true}\n";
        assert_eq!(executable(messages).unwrap(), "/t/release/broker");
        assert_eq!(executable("{\"reason\":\"build-finished\"}"), None);
    }
}
