//! The first five minutes: the lines of the README's section on Kubernetes, as they stand there, in
//! the namespaces that they name. The images are loaded already; `cargo x chart` checks the lines
//! that build them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use kind_e2e::{Scenario, Tool, run, scenario};

#[test]
#[ignore = "needs kind: cargo x kind test"]
fn first_use() {
    scenario("first-use", async |s| {
        let outcome = install_and_try(s);
        let removed = remove(s);
        outcome.and(removed)
    });
}

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn install_and_try(s: &Scenario) -> Result<()> {
    let readme = fs::read_to_string(repository().join("README.md"))?;
    let lines = lines(&readme);
    let told: Vec<&str> = lines.iter().map(|line| line.split(' ').next().unwrap_or("")).collect();
    ensure!(told == ["helm", "kubectl", "kubectl", "kubectl"], "{lines:?}");
    let mut last = String::new();
    for line in &lines {
        s.say(format!("$ {line}"));
        let mut shell = Command::new("sh");
        // Another scenario's release may have installed the definitions, and left them.
        let line = line.replace("helm install ", "helm install --take-ownership ");
        last = run(shell.current_dir(repository()).args(["-c", &line]), "")?;
    }
    let castle = last.lines().find(|line| line.starts_with("kafkacluster.barnabas.dev/castle "));
    let castle = castle.context("castle is listed")?;
    ensure!(castle.contains(" Ready ") && castle.ends_with("3 brokers are ready"), "{castle}");
    // As the notes of the chart say it, but for the terminal.
    let image = "--image=localhost/barnabas/broker:0.1.0";
    let check = ["check", "-i", "--rm", "--restart=Never", image, "--", "check", "--bootstrap"];
    Tool::Kubectl.run(&[&["run"][..], &check, &["castle-bootstrap:9092"]].concat())?;
    s.say("produced and consumed");
    Tool::Helm.run(&["test", "--namespace", "barnabas", "barnabas"]).map(drop)
}

/// The commands of the block that installs, without those that build.
fn lines(readme: &str) -> Vec<String> {
    let section = readme.split("\n## ").find(|section| section.starts_with("On Kubernetes"));
    let blocks = section.unwrap_or_default().split("```sh\n").skip(1);
    let blocks = blocks.filter_map(|rest| rest.split("\n```").next());
    let install = blocks.filter(|block| block.contains("helm install")).flat_map(str::lines);
    install.map(str::to_owned).collect()
}

fn remove(s: &Scenario) -> Result<()> {
    let files = ["manifests/samples/topics.yaml", "manifests/samples/cluster.yaml"];
    for file in files {
        let file = repository().join(file);
        let file = file.to_string_lossy();
        Tool::Kubectl.run(&["delete", "--ignore-not-found", "--timeout=120s", "-f", &file])?;
    }
    let ours = "--selector=app.kubernetes.io/instance=castle";
    Tool::Kubectl.run(&["delete", "pvc", ours, "--timeout=120s"])?;
    Tool::Helm.run(&["uninstall", "barnabas", "--namespace", "barnabas", "--ignore-not-found"])?;
    let gone = ["delete", "namespace", "barnabas", "--ignore-not-found", "--timeout=120s"];
    Tool::Kubectl.run(&gone)?;
    s.say("removed");
    Ok(())
}
