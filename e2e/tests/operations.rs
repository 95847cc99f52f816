//! What an operator does to a running cluster, with the official tools and under load: voters of
//! the metadata quorum come and go, and replicas move with a throttle.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use e2e::clients::{Said, tool, tool_ok};
use e2e::load::Load;
use e2e::{Cluster, ClusterConfig, wait, with_cluster};

const QUORUM: &str = "org.apache.kafka.tools.MetadataQuorumCommand";
const TOPICS: &str = "org.apache.kafka.tools.TopicCommand";
const CONFIGS: &str = "org.apache.kafka.tools.ConfigCommand";
const REASSIGN: &str = "org.apache.kafka.tools.reassign.ReassignPartitionsCommand";
const PRODUCER_PERF: &str = "org.apache.kafka.tools.ProducerPerformance";

const PATIENCE: Duration = Duration::from_secs(60);

#[test]
fn voters_come_and_go_and_restarts_change_nothing() {
    with_cluster(ClusterConfig::new(3).voters(1), |cluster| {
        let admin = cluster.admin()?;
        admin.create_topic("load", 3, 3, &[("min.insync.replicas", "2")])?;
        let dir = tempfile::tempdir()?;
        let mut load = Load::start(&cluster.bootstrap(), "load", 3, 50, dir.path())?;
        ensure!(voters(cluster)? == [1], "a broker that was not listed has a vote");
        for id in [2, 3] {
            let done = add_controller(cluster, id)?;
            ensure!(done.success, "{done:?}");
        }
        ensure!(voters(cluster)? == [1, 2, 3]);
        let again = add_controller(cluster, 2)?;
        ensure!(!again.success && again.all().contains("DuplicateVoter"), "{again:?}");
        restart_all(cluster)?;
        ensure!(voters(cluster)? == [1, 2, 3], "a restart changed who votes");
        // The active controller first, then the founder or what is left beside the last one.
        let active = usize::try_from(admin.controller()?)?;
        remove_controller(cluster, active)?;
        let left: Vec<usize> = (1..=3).filter(|id| *id != active).collect();
        ensure!(voters(cluster)? == left);
        remove_controller(cluster, left[0])?;
        restart_all(cluster)?;
        ensure!(voters(cluster)? == [left[1]], "a restart changed who votes");
        let last = tool(QUORUM, &remove_args(cluster, left[1])?.each(), "")?;
        ensure!(!last.success && last.all().contains("last voter"), "{last:?}");
        load.finish()?;
        println!("{}", load.verify()?);
        Ok(())
    });
}

fn restart_all(cluster: &mut Cluster) -> Result<()> {
    for id in cluster.ids() {
        cluster.stop(id)?;
        cluster.start_broker(id)?;
        cluster.wait_broker(id)?;
        cluster.wait_in_sync()?;
    }
    Ok(())
}

/// The voters, as the official tool prints them.
fn voters(cluster: &Cluster) -> Result<Vec<usize>> {
    let rows = replicas(cluster)?;
    let mut voters: Vec<usize> =
        rows.iter().filter(|row| row.role != "Observer").map(|row| row.id).collect();
    voters.sort_unstable();
    ensure!(rows.len() == 3, "not everybody is listed: {rows:?}");
    Ok(voters)
}

#[derive(Debug)]
struct Row {
    id: usize,
    directory: String,
    role: String,
}

fn replicas(cluster: &Cluster) -> Result<Vec<Row>> {
    let at = cluster.bootstrap();
    let on = ["--bootstrap-server", &at, "describe", "--replication"];
    let said = tool_ok(QUORUM, &on, "")?;
    let rows = said.lines().skip(1).map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let role = *fields.last().context("an empty line")?;
        Ok(Row { id: fields[0].parse()?, directory: fields[1].into(), role: role.into() })
    });
    rows.collect::<Result<_>>().with_context(|| said.clone())
}

fn add_controller(cluster: &Cluster, id: usize) -> Result<Said> {
    let file = cluster.properties_file(id).display().to_string();
    let at = cluster.bootstrap();
    let on = ["--bootstrap-server", &at, "--command-config", &file, "add-controller"];
    tool(QUORUM, &on, "")
}

struct Args(Vec<String>);

impl Args {
    fn each(&self) -> Vec<&str> {
        self.0.iter().map(String::as_str).collect()
    }
}

fn remove_args(cluster: &Cluster, id: usize) -> Result<Args> {
    let rows = replicas(cluster)?;
    let row = rows.iter().find(|row| row.id == id).context("it is not listed")?;
    let (at, id) = (cluster.bootstrap(), id.to_string());
    let args = ["--bootstrap-server", &at, "remove-controller", "--controller-id", &id];
    let directory = ["--controller-directory-id", &row.directory];
    Ok(Args(args.into_iter().chain(directory).map(str::to_owned).collect()))
}

fn remove_controller(cluster: &Cluster, id: usize) -> Result<()> {
    tool_ok(QUORUM, &remove_args(cluster, id)?.each(), "").map(drop)
}

trait Everything {
    fn all(&self) -> String;
}

impl Everything for Said {
    fn all(&self) -> String {
        format!("{}\n{}", self.out, self.err)
    }
}

const BYTES: u64 = 8_000_000;
const RATE: u64 = 1_000_000;

#[test]
fn a_throttled_reassignment_keeps_its_rate_and_can_be_cancelled() {
    with_cluster(ClusterConfig::new(3), |cluster| {
        let at = cluster.bootstrap();
        let create = ["--create", "--topic", "moved", "--replica-assignment", "1:2"];
        tool_ok(TOPICS, &[&["--bootstrap-server", &at][..], &create].concat(), "")?;
        produce(&at, BYTES / 1_000)?;
        let dir = tempfile::tempdir()?;
        let there = plan(dir.path(), "there", "3,2")?;
        let from = Instant::now();
        execute(&at, &there, RATE)?;
        // Those in sync go on at their own speed while the new replica is held back.
        let produced = Instant::now();
        produce(&at, 100)?;
        ensure!(produced.elapsed() < Duration::from_secs(30), "the leader waits for the throttle");
        replicas_become(cluster, [2, 3])?;
        let took = from.elapsed();
        println!("moved {BYTES} bytes at {RATE} per second in {took:?}");
        ensure!(took >= Duration::from_secs(BYTES / RATE) * 9 / 10, "too fast: {took:?}");
        let verified = reassign(&at, &["--verify", "--reassignment-json-file", &there])?;
        ensure!(verified.contains("is completed"), "{verified}");
        no_throttle(&at)?;

        // On the way back, half-way, the mind is changed.
        let back = plan(dir.path(), "back", "1,2")?;
        execute(&at, &back, RATE / 10)?;
        let cancelled = reassign(&at, &["--cancel", "--reassignment-json-file", &back])?;
        ensure!(cancelled.contains("Successfully cancelled"), "{cancelled}");
        replicas_become(cluster, [2, 3])?;
        no_throttle(&at)?;
        let listed = reassign(&at, &["--list"])?;
        ensure!(listed.contains("No partition reassignments found"), "{listed}");
        produce(&at, 100)
    });
}

fn produce(at: &str, records: u64) -> Result<()> {
    let (server, records) = (format!("bootstrap.servers={at}"), records.to_string());
    let what = ["--topic", "moved", "--num-records", &records, "--record-size", "1000"];
    let how = ["--throughput", "-1", "--producer-props", &server, "acks=all"];
    tool_ok(PRODUCER_PERF, &[&what[..], &how].concat(), "").map(drop)
}

fn plan(dir: &Path, name: &str, replicas: &str) -> Result<String> {
    let path = dir.join(name);
    let partition = format!(r#"{{"topic":"moved","partition":0,"replicas":[{replicas}]}}"#);
    std::fs::write(&path, format!(r#"{{"version":1,"partitions":[{partition}]}}"#))?;
    Ok(path.display().to_string())
}

fn reassign(at: &str, args: &[&str]) -> Result<String> {
    tool_ok(REASSIGN, &[&["--bootstrap-server", at], args].concat(), "")
}

fn execute(at: &str, plan: &str, rate: u64) -> Result<()> {
    let rate = rate.to_string();
    let args = ["--execute", "--reassignment-json-file", plan, "--throttle", &rate];
    let said = reassign(at, &args)?;
    ensure!(said.contains("Successfully started"), "{said}");
    Ok(())
}

/// In any order: a cancellation does not restore it, as in Kafka.
fn replicas_become(cluster: &Cluster, wanted: [i32; 2]) -> Result<()> {
    let admin = cluster.admin()?;
    wait::until(format!("the replicas to be {wanted:?}"), PATIENCE, || {
        let partitions = admin.partitions(&["moved"])?;
        let there = partitions
            .values()
            .all(|p| p.replicas.len() == 2 && wanted.iter().all(|id| p.isr.contains(id)));
        Ok(there.then_some(()))
    })
}

fn no_throttle(at: &str) -> Result<()> {
    for kind in ["brokers", "topics"] {
        let said =
            tool_ok(CONFIGS, &["--bootstrap-server", at, "--describe", "--entity-type", kind], "")?;
        ensure!(!said.contains("throttled"), "a throttle is left: {said}");
    }
    Ok(())
}
