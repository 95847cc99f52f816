//! A cluster of broker processes on loopback: started, killed, paused, wiped and restarted one by
//! one. Its directory goes away with it, unless a test is failing: then the logs stay and are
//! named.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::admin::Admin;
use crate::config::{Addresses, ClusterConfig, Target, properties, secret_file};
use crate::process::{Process, tail};
use crate::proxy::Links;
use crate::{setup, wait};

const START: Duration = Duration::from_secs(60);
const SYNC: Duration = Duration::from_secs(60);

#[derive(Debug)]
pub struct Cluster {
    config: ClusterConfig,
    addresses: Vec<Addresses>,
    nodes: Vec<Option<Process>>,
    links: Option<Links>,
    dir: PathBuf,
    started_in: Duration,
}

impl Cluster {
    /// Starts all brokers and waits until each of them serves and the quorum has a leader.
    pub fn start(config: ClusterConfig) -> Result<Cluster> {
        let dir = tempfile::Builder::new().prefix("barnabas-e2e-").tempdir()?.keep();
        write_secret(&dir)?;
        let addresses = (0..config.brokers)
            .map(|_| Addresses::allocate(config.links))
            .collect::<Result<Vec<_>>>()?;
        let links = if config.links { Some(Links::new(&addresses)?) } else { None };
        let nodes = (0..config.brokers).map(|_| None).collect();
        let started_in = Duration::ZERO;
        let mut cluster = Cluster { config, addresses, nodes, links, dir, started_in };
        for id in 1..=cluster.config.brokers {
            cluster.format(id)?;
        }
        let start = Instant::now();
        for id in 1..=cluster.config.brokers {
            cluster.start_broker(id)?;
        }
        cluster.wait_serving()?;
        cluster.started_in = start.elapsed();
        Ok(cluster)
    }

    /// From the start of the first process until all brokers served.
    pub fn started_in(&self) -> Duration {
        self.started_in
    }

    pub fn config(&self) -> &ClusterConfig {
        &self.config
    }

    pub fn ids(&self) -> impl Iterator<Item = usize> + use<> {
        1..=self.config.brokers
    }

    /// The addresses clients are given.
    pub fn bootstrap(&self) -> String {
        let all: Vec<String> = self.ids().map(|id| self.address(id)).collect();
        all.join(",")
    }

    /// The client listener of one broker.
    pub fn address(&self, id: usize) -> String {
        format!("127.0.0.1:{}", self.addresses[id - 1].client)
    }

    /// Where one broker answers HTTP.
    pub fn http(&self, id: usize) -> String {
        format!("127.0.0.1:{}", self.addresses[id - 1].http)
    }

    /// The ports of one broker.
    pub fn addresses(&self, id: usize) -> Addresses {
        self.addresses[id - 1]
    }

    /// Asks any of the brokers.
    pub fn admin(&self) -> Result<Admin> {
        Admin::new(self.ids().map(|id| self.address(id)).collect())
    }

    /// Asks any broker but this one.
    pub fn admin_without(&self, id: usize) -> Result<Admin> {
        let others = self.ids().filter(|other| *other != id);
        Admin::new(others.map(|other| self.address(other)).collect())
    }

    pub fn process(&self, id: usize) -> Result<&Process> {
        self.nodes[id - 1].as_ref().with_context(|| format!("broker {id} is not running"))
    }

    pub fn broker_dir(&self, id: usize) -> PathBuf {
        self.dir.join(format!("broker-{id}"))
    }

    /// Where broker `id` keeps its partitions.
    pub fn data_dir(&self, id: usize) -> PathBuf {
        self.broker_dir(id).join("data")
    }

    pub fn properties_file(&self, id: usize) -> PathBuf {
        self.broker_dir(id).join("server.properties")
    }

    /// Where a broker with `pod_config` looks for its place. There is no such file at first.
    pub fn pod_file(&self, id: usize) -> PathBuf {
        self.broker_dir(id).join("pod.properties")
    }

    /// Writes the configuration; Apache Kafka also wants its directories formatted.
    fn format(&self, id: usize) -> Result<()> {
        let dir = self.broker_dir(id);
        fs::create_dir_all(&dir)?;
        let text = properties(&self.config, &self.addresses, id, &dir);
        fs::write(self.properties_file(id), text)?;
        if self.config.target == Target::Apache {
            let mut format = java(&setup::java()?, "-Xmx128m");
            format.args(["kafka.tools.StorageTool", "format", "-t", "bm90LXJhbmRvbS1hdC1hbA"]);
            let done = format.arg("-c").arg(self.properties_file(id)).output()?;
            if !done.status.success() {
                bail!("format: {}", String::from_utf8_lossy(&done.stderr));
            }
        }
        Ok(())
    }

    /// Starts a broker that does not run. Does not wait for it to serve.
    pub fn start_broker(&mut self, id: usize) -> Result<()> {
        let mut command = match self.config.target {
            Target::Barnabas => {
                let binary = self.config.binary.clone();
                let mut command = Command::new(binary.map_or_else(setup::broker, Ok)?);
                command.args(["run", "--config"]).arg(self.properties_file(id));
                if self.config.pod_config {
                    command.arg("--pod-config").arg(self.pod_file(id));
                }
                command
            }
            Target::Apache => {
                // The heap and collector of Kafka's own start script.
                let mut command = java(&setup::java()?, "-Xms1G");
                command.args(["-Xmx1G", "-server", "-XX:+UseG1GC", "-XX:MaxGCPauseMillis=20"]);
                command.args(["-XX:InitiatingHeapOccupancyPercent=35"]);
                command.args(["-XX:+ExplicitGCInvokesConcurrent", "-Djava.awt.headless=true"]);
                command.arg("kafka.Kafka").arg(self.properties_file(id));
                command
            }
        };
        let log = self.broker_dir(id).join("broker.log");
        let process = Process::spawn(&mut command, &log)?;
        if let Some(links) = &self.links {
            links.set_process(id, process.id());
        }
        self.nodes[id - 1] = Some(process);
        Ok(())
    }

    /// Waits until every running broker answers with a view of all of them.
    pub fn wait_serving(&mut self) -> Result<()> {
        for id in 1..=self.config.brokers {
            self.wait_broker(id)?;
        }
        let admin = self.admin()?;
        wait::until("a controller", START, || admin.controller().map(Some))?;
        Ok(())
    }

    /// Waits until this broker serves, and it and every other running broker see all of them.
    pub fn wait_broker(&mut self, id: usize) -> Result<()> {
        self.process(id)?;
        let addr = self.address(id);
        let running: BTreeSet<usize> = self.running().collect();
        let admin = Admin::new(running.iter().map(|id| self.address(*id)).collect())?;
        let deadline = Instant::now() + START;
        loop {
            // Its own view may be of the time before it went away.
            let last = match admin.brokers_agreed() {
                Ok(seen) if running.is_subset(&seen) => return Ok(()),
                Ok(seen) => format!("of {running:?} these are seen: {seen:?}"),
                Err(error) => format!("{error:#}"),
            };
            self.check_alive()?;
            if Instant::now() > deadline {
                let log = tail(self.process(id)?.log(), 40);
                bail!("broker {id} at {addr} does not serve: {last}\n{log}");
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn running(&self) -> impl Iterator<Item = usize> {
        self.ids().filter(move |id| self.nodes[id - 1].is_some())
    }

    /// SIGKILL, in the given instant.
    pub fn kill(&mut self, id: usize) -> Result<()> {
        let mut process = self.nodes[id - 1].take().context("not running")?;
        process.kill()
    }

    /// SIGTERM: the controlled shutdown.
    pub fn stop(&mut self, id: usize) -> Result<()> {
        let mut process = self.nodes[id - 1].take().context("not running")?;
        let status = process.terminate(Duration::from_secs(60))?;
        // A JVM that ends on SIGTERM says so in its status; ours ends with success.
        if !status.success() && self.config.target == Target::Barnabas {
            bail!("broker {id} ended with {status}\n{}", tail(process.log(), 40));
        }
        Ok(())
    }

    pub fn pause(&self, id: usize) -> Result<()> {
        self.process(id)?.pause()
    }

    pub fn resume(&self, id: usize) -> Result<()> {
        self.process(id)?.resume()
    }

    /// Empties the directories of a broker that does not run, as a new machine would have them.
    pub fn wipe(&self, id: usize) -> Result<()> {
        anyhow::ensure!(self.nodes[id - 1].is_none(), "broker {id} runs");
        fs::remove_dir_all(self.broker_dir(id))?;
        self.format(id)
    }

    /// Cuts all traffic between broker `id` and the other brokers, in both directions. Clients
    /// still reach it.
    pub fn isolate(&self, id: usize) -> Result<()> {
        self.links.as_ref().context("the cluster was started without links")?.isolate(id);
        Ok(())
    }

    pub fn heal(&self) -> Result<()> {
        self.links.as_ref().context("the cluster was started without links")?.heal();
        Ok(())
    }

    /// Waits until every partition has its leader and all its replicas in sync, as every running
    /// broker tells.
    pub fn wait_in_sync(&self) -> Result<()> {
        let admin = Admin::new(self.running().map(|id| self.address(id)).collect())?;
        admin.wait_in_sync(&[], SYNC).map(drop)
    }

    /// A broker that ended by itself, with the end of its log.
    pub fn check_alive(&mut self) -> Result<()> {
        for (i, node) in self.nodes.iter_mut().enumerate() {
            if let Some(process) = node
                && !process.alive()
            {
                bail!("broker {} died by itself\n{}", i + 1, tail(process.log(), 40));
            }
        }
        Ok(())
    }

    pub fn dir(&self) -> &Path {
        &self.dir
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.nodes.clear();
        if std::thread::panicking() || std::env::var_os("BARNABAS_E2E_KEEP").is_some() {
            eprintln!("the cluster's files are kept in {}", self.dir.display());
            for id in self.ids() {
                let log = self.broker_dir(id).join("broker.log");
                eprintln!("--- the end of {}\n{}", log.display(), tail(&log, 25));
            }
        } else {
            // Left-over files in the temporary directory are no reason to fail.
            let _ = fs::remove_dir_all(&self.dir);
        }
    }
}

/// What the brokers prove to each other that they have; of this cluster alone.
fn write_secret(dir: &Path) -> Result<()> {
    let text = format!("the secret of {}", dir.display());
    let mut file = fs::OpenOptions::new();
    let mut file = file.write(true).create_new(true).mode(0o600).open(secret_file(dir))?;
    Ok(file.write_all(text.as_bytes())?)
}

/// A JVM with the official jars, quiet and with a small heap by default.
pub fn java(class_path: &str, heap: &str) -> Command {
    let mut command = Command::new("java");
    let logging = setup::sources().join("java/log4j2.properties");
    command.arg(heap).arg(format!("-Dlog4j2.configurationFile={}", logging.display()));
    command.args(["-cp", class_path]);
    command
}
