//! Failover as clients see it: the longest gap in acknowledged writes (acks=all) and in what a
//! group's member reads, with each client's *default* settings, when leaders are killed or paused.
//! Every second victim is the active controller as well. `cargo x gaps` prints the table.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use crate::cluster::java;
use crate::load::{Acks, NEVER, longest_gap, now_ns, summary};
use crate::victim::choose;
use crate::{Cluster, ClusterConfig, Target, setup, wait};

const TOPIC: &str = "gaps";
const PARTITIONS: i32 = 6;
/// Records per second and partition.
const RATE: u32 = 50;
/// Between the last move of a leader and a fault. franz-go asks for metadata at most every 5 s
/// (`MetadataMinAge`): a fault sooner after a move would be measured by that.
const CALM: Duration = Duration::from_secs(6);
/// Every client, by the names that the table has.
pub const CLIENTS: [&str; 6] =
    ["java", "librdkafka", "franz-go", "sarama", "kafka-python", "kafkajs"];

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fault {
    /// SIGKILL.
    Kill,
    /// SIGSTOP, and SIGCONT when the round ends.
    Pause,
}

/// What is measured.
#[derive(Clone, Debug)]
pub struct Plan {
    pub clients: Vec<String>,
    pub faults: Vec<Fault>,
    pub rounds: usize,
    /// How long a victim stays away.
    pub away: Duration,
    pub target: Target,
}

impl Plan {
    /// `--clients java,sarama --faults kill,pause --rounds N --away SECONDS --target apache`.
    pub fn from_arguments(mut arguments: impl Iterator<Item = String>) -> Result<Plan> {
        let mut plan = Plan {
            clients: CLIENTS.map(str::to_owned).to_vec(),
            faults: vec![Fault::Kill, Fault::Pause],
            rounds: 12,
            away: Duration::from_secs(4),
            target: Target::Barnabas,
        };
        while let Some(name) = arguments.next() {
            let value = arguments.next().with_context(|| format!("{name} needs a value"))?;
            match name.as_str() {
                "--clients" => plan.clients = value.split(',').map(str::to_owned).collect(),
                "--faults" => plan.faults = value.split(',').map(fault).collect::<Result<_>>()?,
                "--rounds" => plan.rounds = value.parse()?,
                "--away" => plan.away = Duration::from_secs(value.parse()?),
                "--target" if value == "apache" => plan.target = Target::Apache,
                "--target" if value == "barnabas" => plan.target = Target::Barnabas,
                other => bail!("no such option: {other} {value}"),
            }
        }
        let unknown = plan.clients.iter().find(|client| !CLIENTS.contains(&client.as_str()));
        ensure!(unknown.is_none(), "no such client: {unknown:?}; there are {CLIENTS:?}");
        Ok(plan)
    }
}

fn fault(name: &str) -> Result<Fault> {
    match name {
        "kill" => Ok(Fault::Kill),
        "pause" => Ok(Fault::Pause),
        other => bail!("no such fault: {other}"),
    }
}

/// The gaps that one client saw, one of each kind per round.
#[derive(Clone, Default, Debug)]
pub struct Seen {
    pub writes: Vec<Duration>,
    pub reads: Vec<Duration>,
    /// Records that the client gave up.
    pub failed: u64,
}

/// Runs the plan and prints the table.
pub fn run(plan: &Plan) -> Result<()> {
    let mut table = String::from(
        "| fault | client | writes: median | longest | reads: median | longest | given up |\n\
         |---|---|---:|---:|---:|---:|---:|\n",
    );
    for fault in &plan.faults {
        for client in &plan.clients {
            eprintln!("{fault:?}: {client}, {} rounds", plan.rounds);
            let seen = measure(plan, client, *fault).with_context(|| client.clone())?;
            let (write, read) = (summary(&seen.writes), summary(&seen.reads));
            let each = |gaps: &[Duration]| gaps.iter().map(shown).collect::<Vec<_>>().join(", ");
            eprintln!("  writes: {}; reads: {}", each(&seen.writes), each(&seen.reads));
            writeln!(
                table,
                "| {fault:?} | {client} | {} | {} | {} | {} | {} |",
                shown(&write.0),
                shown(&write.1),
                shown(&read.0),
                shown(&read.1),
                seen.failed
            )?;
        }
    }
    print!("{table}");
    Ok(())
}

/// A partition that had no event until the client's end has no gap either.
fn shown(gap: &Duration) -> String {
    if *gap == NEVER { "until its end".to_owned() } else { format!("{} ms", gap.as_millis()) }
}

/// A fresh cluster, one client, and the faults one after the other.
pub fn measure(plan: &Plan, client: &str, fault: Fault) -> Result<Seen> {
    // Leaders that are moved back a while after a return would be one more fault, at a time that
    // nobody chose.
    let mut config = ClusterConfig::new(3).set("auto.leader.rebalance.enable", false);
    config.target = plan.target;
    let mut cluster = Cluster::start(config)?;
    let admin = cluster.admin()?;
    admin.create_topic(TOPIC, PARTITIONS, 3, &[("min.insync.replicas", "2")])?;
    let mut load = ClientLoad::start(client, &cluster.bootstrap(), cluster.dir())?;
    let mut windows = Vec::new();
    for round in 0..plan.rounds {
        // Choosing may move leaders, as the last victim's return did: neither belongs to the fault.
        let (victim, _) = choose(&admin, TOPIC, round % 2 == 1)?;
        std::thread::sleep(CALM);
        let at = now_ns()?;
        match fault {
            Fault::Kill => cluster.kill(victim)?,
            Fault::Pause => cluster.pause(victim)?,
        }
        std::thread::sleep(plan.away);
        windows.push((at, now_ns()?));
        match fault {
            Fault::Kill => cluster.start_broker(victim)?,
            Fault::Pause => cluster.resume(victim)?,
        }
        cluster.wait_broker(victim)?;
        cluster.wait_in_sync().with_context(|| format!("after round {round}"))?;
    }
    let (writes, reads, failed) = load.finish()?;
    let gaps =
        |events: &Acks| windows.iter().map(|(from, to)| longest_gap(events, *from, *to)).collect();
    Ok(Seen { writes: gaps(&writes), reads: gaps(&reads), failed })
}

/// A client program that writes and reads until its standard input closes.
struct ClientLoad {
    child: Child,
    journal: PathBuf,
    log: PathBuf,
}

impl ClientLoad {
    fn start(client: &str, bootstrap: &str, dir: &Path) -> Result<ClientLoad> {
        let (journal, log) = (dir.join("gaps"), dir.join("gaps.log"));
        let mut command = program(client)?;
        command.args([bootstrap, TOPIC, &PARTITIONS.to_string(), &RATE.to_string()]);
        let output = fs::File::create(&log)?;
        let child = command
            .arg(&journal)
            .stdin(Stdio::piped())
            .stdout(output.try_clone()?)
            .stderr(output)
            .spawn()?;
        let load = ClientLoad { child, journal, log };
        wait::until("reads of every partition", Duration::from_secs(60), || {
            let all = read(&load.journal).map(|(_, reads)| reads.len());
            Ok((all.unwrap_or(0) == PARTITIONS.unsigned_abs() as usize).then_some(()))
        })?;
        Ok(load)
    }

    /// Ends the load. Returns when writes were acknowledged, when records were read, and how many
    /// records the client gave up.
    fn finish(&mut self) -> Result<(Acks, Acks, u64)> {
        drop(self.child.stdin.take());
        let limit = Duration::from_secs(90);
        let status = wait::until("the client's end", limit, || Ok(self.child.try_wait()?))?;
        let said = fs::read_to_string(&self.log).unwrap_or_default();
        ensure!(status.success(), "the client failed: {said}");
        let failed = said.lines().rev().find_map(|line| line.strip_prefix("failed "));
        let (writes, reads) = read(&self.journal)?;
        Ok((writes, reads, failed.context("the client did not count")?.trim().parse()?))
    }
}

impl Drop for ClientLoad {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn program(client: &str) -> Result<Command> {
    let python = || -> Result<Command> {
        let mut command = Command::new(setup::python()?);
        command.env("PYTHONDONTWRITEBYTECODE", "1");
        command.arg(setup::sources().join("python/gaps.py")).arg(client);
        Ok(command)
    };
    match client {
        "java" => {
            let mut command = java(&setup::java()?, "-Xmx256m");
            command.arg("clients.Gaps");
            Ok(command)
        }
        "librdkafka" | "kafka-python" => python(),
        "kafkajs" => {
            let mut command = Command::new("node");
            command.arg(setup::node()?.join("gaps.js"));
            Ok(command)
        }
        _ => {
            let mut command = Command::new(setup::go()?);
            command.args(["gaps", client]);
            Ok(command)
        }
    }
}

/// Writes and reads of a journal. A line that is being written is left out.
fn read(journal: &Path) -> Result<(Acks, Acks)> {
    let (mut writes, mut reads) = (Acks::new(), Acks::new());
    let text = fs::read_to_string(journal)?;
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    for line in whole.lines() {
        let mut fields = line.split(' ');
        let events = match fields.next() {
            Some("W") => &mut writes,
            Some("R") => &mut reads,
            other => bail!("an event of kind {other:?}"),
        };
        let at = fields.next().context("a time")?.parse()?;
        let partition = fields.next().context("a partition")?.parse()?;
        events.entry(partition).or_default().push(at);
    }
    let sort = |events: &mut BTreeMap<i32, Vec<u64>>| {
        events.values_mut().for_each(|times| times.sort_unstable());
    };
    sort(&mut writes);
    sort(&mut reads);
    Ok((writes, reads))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_journal_has_both_kinds_of_events() -> Result<()> {
        let dir = tempfile::tempdir()?;
        let journal = dir.path().join("journal");
        fs::write(&journal, "W 5 0\nR 7 0\nW 3 0\nW 4 1\nR 9")?;
        let (writes, reads) = read(&journal)?;
        assert_eq!(writes, Acks::from([(0, vec![3, 5]), (1, vec![4])]));
        assert_eq!(reads, Acks::from([(0, vec![7])]), "a cut line does not count");
        Ok(())
    }
}
