//! The life of a scenario, from its namespaces to their removal.

use std::collections::BTreeSet;
use std::fs;
use std::panic::AssertUnwindSafe;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, anyhow};
use futures::FutureExt;
use kube::core::{NamespaceResourceScope, Resource};
use kube::{Api, Client};

use crate::command::Tool;
use crate::disks::Disk;
use crate::logs::Follower;
use crate::provoked::Provoked;

/// No scenario takes longer than this; one that would has hung.
const LONGEST: Duration = Duration::from_secs(15 * 60);

/// Kinds of what a scenario makes outside of its namespaces, labelled with the first of them.
const OUTSIDE: &str = "apiservices,mutatingwebhookconfigurations,storageclasses,persistentvolumes";

/// What a scenario's body works with. Two namespaces: one for the cluster, watched by an operator
/// that lives in the other, so that the first can be deleted as a whole.
pub struct Scenario {
    pub client: Client,
    /// Of the `KafkaCluster`, its `Topic`s and the load.
    pub namespace: String,
    /// Of the operator.
    pub home: String,
    /// The name of the kind cluster.
    pub bed: String,
    pub(crate) logs: PathBuf,
    /// Nodes that were stopped or cordoned and must come back.
    pub(crate) hurt: Mutex<BTreeSet<String>>,
    /// Nodes that are cut off from others.
    pub(crate) cut: Mutex<BTreeSet<String>>,
    pub(crate) disks: Mutex<Vec<Disk>>,
    /// Errors that a log may contain.
    allowed: Mutex<Vec<String>>,
    pub(crate) provoked: Mutex<Provoked>,
    started: Instant,
}

/// Runs a scenario: panics with its error, after keeping what explains it.
pub fn scenario(name: &str, body: impl AsyncFnOnce(&Scenario) -> Result<()>) {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let outcome = match runtime {
        Ok(runtime) => runtime.block_on(run(name, body)),
        Err(error) => Err(error.into()),
    };
    if let Err(error) = outcome {
        panic!("{name}: {error:#}");
    }
}

async fn run(name: &str, body: impl AsyncFnOnce(&Scenario) -> Result<()>) -> Result<()> {
    let s = Scenario::new(name).await?;
    let follower = Follower::start(&s.client, &s.logs, &[&s.namespace, &s.home]);
    let guarded = AssertUnwindSafe(body(&s)).catch_unwind();
    let mut outcome = match tokio::time::timeout(LONGEST, guarded).await {
        Ok(Ok(outcome)) => outcome,
        Ok(Err(panic)) => Err(anyhow!("panicked: {}", words(&*panic))),
        Err(_) => Err(anyhow!("not done after {LONGEST:?}")),
    };
    s.say("the body is done");
    // Before anything is healed: the state that failed is what explains it.
    if let Err(error) = &outcome {
        s.keep(error).await;
    }
    let healed = s.mend_links().and(s.heal_nodes().await);
    follower.settle().await;
    if outcome.is_ok() {
        outcome = match healed.and_then(|()| s.scan_logs()) {
            Ok(()) => s.judge_operator().await,
            Err(error) => Err(error),
        };
        if let Err(error) = &outcome {
            s.keep(error).await;
        }
    } else if let Err(error) = healed {
        s.say(format!("and besides: {error:#}"));
    }
    follower.stop();
    let keeps = std::env::var_os("BARNABAS_KIND_KEEP").is_some();
    if outcome.is_err() && keeps {
        s.say("left as it is, for BARNABAS_KIND_KEEP is set");
        return outcome;
    }
    let removed = s.remove().and(s.remove_disks());
    if let (Err(_), Err(error)) = (&outcome, &removed) {
        s.say(format!("and besides, not all is removed: {error:#}"));
    }
    if outcome.is_ok() && removed.is_ok() {
        // What a scenario that passed has logged explains nothing.
        let _ = fs::remove_dir_all(&s.logs);
    }
    outcome.and(removed)
}

fn words(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no message").to_owned()
}

impl Scenario {
    async fn new(name: &str) -> Result<Self> {
        let client = Client::try_default().await.context("no cluster: cargo x kind test")?;
        let logs = std::env::var_os("BARNABAS_KIND_LOGS")
            .map_or_else(|| repository().join("target/kind-logs"), PathBuf::from)
            .join(name);
        let _ = fs::remove_dir_all(&logs);
        fs::create_dir_all(&logs)?;
        // Runs side by side, as of two people on one cluster, do not meet, nor does one meet what
        // an earlier one left; numbers of processes would begin anew with the machine.
        let since = SystemTime::now().duration_since(UNIX_EPOCH).context("a clock before 1970")?;
        let namespace = format!("{name}-{:x}", since.as_millis());
        let s = Self {
            client,
            home: format!("{namespace}-operator"),
            namespace,
            bed: std::env::var("BARNABAS_KIND").unwrap_or_else(|_| "dev".into()),
            logs,
            hurt: Mutex::default(),
            cut: Mutex::default(),
            disks: Mutex::default(),
            allowed: Mutex::default(),
            provoked: Mutex::default(),
            started: Instant::now(),
        };
        for namespace in [&s.namespace, &s.home] {
            let restricted = "pod-security.kubernetes.io/enforce=restricted";
            // By this label the next run finds what this one may leave behind.
            let label = format!("barnabas.dev/scenario={name}");
            Tool::Kubectl.run(&["create", "namespace", namespace])?;
            Tool::Kubectl.run(&["label", "namespace", namespace, restricted, &label])?;
        }
        Ok(s)
    }

    /// Objects of the scenario's namespace.
    pub fn api<K>(&self) -> Api<K>
    where
        K: Resource<Scope = NamespaceResourceScope>,
        K::DynamicType: Default,
    {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    /// A line of progress, with the time since the start.
    pub fn say(&self, text: impl std::fmt::Display) {
        println!("[{:>6.1}s] {}: {text}", self.started.elapsed().as_secs_f64(), self.namespace);
    }

    /// Another namespace, by this addition to the name of the scenario's own, which the next run
    /// removes if the scenario does not.
    pub fn another_namespace(&self, addition: &str) -> Result<String> {
        let name = format!("{}-{addition}", self.namespace);
        Tool::Kubectl.run(&["create", "namespace", &name])?;
        let label = format!("barnabas.dev/scenario={}", self.namespace);
        Tool::Kubectl.run(&["label", "namespace", &name, &label])?;
        Ok(name)
    }

    /// `kubectl` in the scenario's namespace.
    pub fn kubectl(&self, arguments: &[&str]) -> Result<String> {
        let mut all = vec!["--namespace", self.namespace.as_str()];
        all.extend(arguments);
        Tool::Kubectl.run(&all)
    }

    /// `kubectl apply`, as a user does it.
    pub fn apply(&self, yaml: &str) -> Result<String> {
        let arguments = ["--namespace", &self.namespace, "apply", "-f", "-"];
        Tool::Kubectl.with_input(&arguments, yaml)
    }

    /// What `kubectl apply` says when it refuses; an error if it does not.
    pub fn refused(&self, yaml: &str) -> Result<String> {
        match self.apply(yaml) {
            Ok(said) => Err(anyhow!("was not refused: {said}")),
            Err(error) => Ok(format!("{error:#}")),
        }
    }

    /// A merge patch, e.g. of a spec: `patch("kafkacluster/castle", r#"{"spec": …}"#)`.
    pub fn patch(&self, object: &str, patch: &str) -> Result<String> {
        self.kubectl(&["patch", object, "--type", "merge", "--patch", patch])
    }

    /// An error that brokers or the operator may log in this scenario, by a part of its line.
    pub fn allow_error(&self, part: &str) {
        self.allowed.lock().unwrap_or_else(PoisonError::into_inner).push(part.to_owned());
    }

    fn scan_logs(&self) -> Result<()> {
        let allowed = self.allowed.lock().unwrap_or_else(PoisonError::into_inner);
        crate::logs::scan(&self.logs, &allowed)
    }

    /// Resources first, while there is an operator that knows how, then everything.
    fn remove(&self) -> Result<()> {
        let resources = ["delete", "topics,kafkaclusters", "--all", "--timeout=60s"];
        if let Err(error) = self.kubectl(&resources) {
            self.say(format!("cannot remove resources: {error:#}"));
        }
        // While an API is registered whose pod is gone, no namespace goes.
        let ours = format!("--selector=barnabas.dev/scenario={}", self.namespace);
        // Volumes go only after their claims.
        Tool::Kubectl.run(&["delete", OUTSIDE, &ours, "--wait=false"])?;
        for release in self.releases()? {
            Tool::Helm.run(&["uninstall", &release, "--namespace", &self.home])?;
        }
        self.release_topics()?;
        // Brokers have a minute to end, one after the other where a machine is busy.
        let both = ["delete", "namespace", &self.namespace, &self.home];
        let how = ["--ignore-not-found", "--timeout=300s"];
        Tool::Kubectl.run(&[&both[..], &how].concat()).map(drop)
    }

    fn releases(&self) -> Result<Vec<String>> {
        let names = Tool::Helm.run(&["list", "--all", "--short", "--namespace", &self.home])?;
        Ok(names.lines().map(str::to_owned).collect())
    }

    /// Where no operator is left to take its finalizer off, nothing must hang.
    fn release_topics(&self) -> Result<()> {
        let Ok(names) = self.kubectl(&["get", "topics", "-o", "name"]) else { return Ok(()) };
        for name in names.lines() {
            self.patch(name, r#"{"metadata": {"finalizers": null}}"#)?;
        }
        Ok(())
    }
}

/// The root of the work tree.
pub(crate) fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}
