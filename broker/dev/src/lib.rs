//! `broker dev`: a cluster on this machine from the YAML that Kubernetes takes. One process per
//! broker, supervised; the operator's little brother.

pub mod check;
mod observe;
mod plan;
mod process;
mod resources;
pub mod topics;
mod view;
mod voters;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::Args;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval};

use plan::{BrokerPlan, ClusterPlan};
use process::ProcessState;
use quorum::secret::Secret;
use view::{Screen, tell};

pub use process::EXIT_CONFIG;

const LOOK_EVERY: Duration = Duration::from_secs(1);
const START_LOOK_EVERY: Duration = Duration::from_millis(50);
/// Recovery after a crash with much data may take a while; a cluster that is not ready by then is
/// shown as it is.
const START_TIMEOUT: Duration = Duration::from_secs(120);

const SAMPLE_CLUSTER: &str = include_str!("../../../manifests/samples/cluster.yaml");
const SAMPLE_TOPICS: &str = include_str!("../../../manifests/samples/topics.yaml");

/// Start a cluster on this machine from KafkaCluster and Topic YAML.
#[derive(Debug, Args)]
pub struct DevArgs {
    /// YAML files with one KafkaCluster and its Topics; the samples (three brokers) without any.
    #[arg(short = 'f', long = "file")]
    pub files: Vec<PathBuf>,
    /// Which cluster, where the files have several.
    #[arg(long)]
    pub cluster: Option<String>,
    /// Where the brokers keep their data and logs between runs.
    #[arg(long, default_value = "data")]
    pub data: PathBuf,
}

/// Runs until Ctrl-C, SIGTERM, or a broker that cannot run.
pub async fn run(args: DevArgs) -> Result<()> {
    let plan = read(&args)?;
    for kind in &plan.ignored {
        tell(&format!("passed over: a {kind}, which is not a resource of {}", resources::GROUP));
    }
    make_secret(&plan)?;
    let data = args.data.display();
    tell(&format!("cluster {}: {} brokers, data in {data}", plan.name, plan.brokers.len()));
    let mut interrupted = signal(SignalKind::interrupt()).context("listen for Ctrl-C")?;
    let mut terminated = signal(SignalKind::terminate()).context("listen for SIGTERM")?;
    let (stop, stopped) = watch::channel(false);
    let mut supervisors = JoinSet::new();
    let mut states = Vec::new();
    for broker in &plan.brokers {
        let (tell, state) =
            watch::channel(ProcessState::Restarting { reason: process::STARTING.into() });
        states.push((broker.clone(), state));
        supervisors.spawn(process::supervise(broker.clone(), tell, stopped.clone()));
    }
    let result = tokio::select! {
        result = attend(&plan, &states) => result,
        _ = interrupted.recv() => Ok(()),
        _ = terminated.recv() => Ok(()),
    };
    tell(&format!("\nstopping {} brokers", plan.brokers.len()));
    stop.send_replace(true);
    while let Some(ended) = supervisors.join_next().await {
        ended.context("a supervisor ended")??;
    }
    tell(&format!("stopped; the data stays in {data}"));
    result
}

/// The brokers find it there, at this start and at every later one.
fn make_secret(plan: &ClusterPlan) -> Result<()> {
    if let Some(dir) = plan.secret.parent() {
        std::fs::create_dir_all(dir)
            .with_context(|| format!("create directory {}", dir.display()))?;
    }
    Secret::read_or_make(&plan.secret).context("make the secret of the brokers")?;
    Ok(())
}

fn read(args: &DevArgs) -> Result<ClusterPlan> {
    let mut manifests = Vec::new();
    for file in &args.files {
        let name = file.display();
        let text = std::fs::read_to_string(file).with_context(|| format!("read {name}"))?;
        manifests
            .extend(resources::parse_manifests(&text).with_context(|| format!("read {name}"))?);
    }
    if args.files.is_empty() {
        for text in [SAMPLE_CLUSTER, SAMPLE_TOPICS] {
            manifests.extend(resources::parse_manifests(text).context("read the samples")?);
        }
    }
    std::fs::create_dir_all(&args.data)
        .with_context(|| format!("create directory {}", args.data.display()))?;
    // Brokers start in this directory, but their files name the data absolutely.
    let data = args.data.canonicalize().context("find the data directory")?;
    Ok(plan::plan(manifests, args.cluster.as_deref(), &data)?)
}

type States = [(BrokerPlan, watch::Receiver<ProcessState>)];

/// Waits for the brokers, creates the topics, then shows the state until a broker cannot run.
async fn attend(plan: &ClusterPlan, states: &States) -> Result<()> {
    let started = Instant::now();
    let mut screen = Screen::new();
    let ready = await_ready(states, started + START_TIMEOUT, &mut screen).await?;
    match ready {
        true => screen.say(&format!("all brokers are ready after {:.1?}", started.elapsed())),
        false => screen.say("not all brokers are ready yet; going on"),
    }
    let mut wishes = [Wish::new(plan, What::Topics), Wish::new(plan, What::Voters)];
    attempt(&mut wishes, &mut screen).await;
    screen.say(&format!(
        "\n{}\nCtrl-C stops the cluster and keeps its data.\n",
        view::first_steps(plan)
    ));
    let mut looks = interval(LOOK_EVERY);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        looks.tick().await;
        fail_on_ended(states)?;
        attempt(&mut wishes, &mut screen).await;
        screen.show(observe::observe(&now(states)).await);
    }
}

#[derive(Clone, Copy)]
enum What {
    Topics,
    Voters,
}

/// Something that the YAML says of the running cluster, until its brokers made it so.
struct Wish<'a> {
    plan: &'a ClusterPlan,
    what: What,
    /// What was told last.
    problem: Option<String>,
    is_done: bool,
}

async fn attempt(wishes: &mut [Wish<'_>], screen: &mut Screen) {
    for wish in wishes {
        wish.attempt(screen).await;
    }
}

impl Wish<'_> {
    fn new(plan: &ClusterPlan, what: What) -> Wish<'_> {
        Wish { plan, what, problem: None, is_done: false }
    }

    /// Brokers that do not answer yet are no reason to stop those that do: it is tried again.
    async fn attempt(&mut self, screen: &mut Screen) {
        if self.is_done {
            return;
        }
        let (name, result) = match self.what {
            What::Topics => ("topics", topics::apply(self.plan).await),
            What::Voters => ("voters", voters::apply(self.plan).await),
        };
        match result {
            Ok(lines) => {
                self.is_done = true;
                for line in lines {
                    screen.say(&line);
                }
            }
            Err(error) => {
                let problem = format!("the {name} have to wait: {error:#}");
                if self.problem.as_ref() != Some(&problem) {
                    screen.say(&problem);
                }
                self.problem = Some(problem);
            }
        }
    }
}

/// Waits until all are ready, and says at once what keeps a broker from starting.
async fn await_ready(states: &States, deadline: Instant, screen: &mut Screen) -> Result<bool> {
    let mut looks = interval(START_LOOK_EVERY);
    let mut troubles = BTreeMap::new();
    for (plan, _) in states {
        loop {
            looks.tick().await;
            fail_on_ended(states)?;
            tell_troubles(states, &mut troubles, screen);
            if observe::readiness(&plan.http).await.is_ok() {
                break;
            }
            if Instant::now() > deadline {
                return Ok(false);
            }
        }
    }
    Ok(true)
}

/// Says why a broker is started again, once per reason.
fn tell_troubles(states: &States, told: &mut BTreeMap<i32, String>, screen: &mut Screen) {
    for (plan, state) in now(states) {
        let ProcessState::Restarting { reason } = state else { continue };
        if reason != process::STARTING && told.get(&plan.id) != Some(&reason) {
            screen.say(&format!("broker {}: {reason}; starting again", plan.id));
            told.insert(plan.id, reason);
        }
    }
}

fn now(states: &States) -> Vec<(BrokerPlan, ProcessState)> {
    states.iter().map(|(plan, state)| (plan.clone(), state.borrow().clone())).collect()
}

fn fail_on_ended(states: &States) -> Result<()> {
    for (plan, state) in now(states) {
        if let ProcessState::Ended { reason } = state {
            let log = process::log_file(&plan);
            bail!("broker {}: {reason}\n{}", plan.id, tail(&log));
        }
    }
    Ok(())
}

/// The last lines of a broker's log, where the reason of its end stands.
fn tail(log: &std::path::Path) -> String {
    const LINES: usize = 5;
    let text = std::fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&text[text.len().saturating_sub(8192)..]).into_owned();
    let lines: Vec<&str> = text.lines().collect();
    let tail = &lines[lines.len().saturating_sub(LINES)..];
    format!("{}\n(from {})", tail.join("\n"), log.display())
}
