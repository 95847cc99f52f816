//! Transactions move amounts between accounts while brokers are killed and paused: in no snapshot
//! of committed records is anything made or lost.

use std::fs::File;
use std::io::Write;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use e2e::{Cluster, ClusterConfig, bank, setup, wait, with_cluster};

const TOPIC: &str = "bank";
const PARTITIONS: i32 = 4;
const WORKERS: usize = 4;
const AWAY: Duration = Duration::from_secs(3);
/// For what is under way when it is told to stop, and the last snapshots.
const END_MAX: Duration = Duration::from_secs(240);

fn rounds() -> usize {
    let set = std::env::var("BARNABAS_E2E_ROUNDS").ok();
    set.and_then(|rounds| rounds.parse().ok()).unwrap_or(6)
}

#[test]
fn no_snapshot_sees_money_made_or_lost() {
    with_cluster(ClusterConfig::new(3), run);
}

fn run(cluster: &mut Cluster) -> Result<()> {
    let admin = cluster.admin()?;
    admin.create_topic(TOPIC, PARTITIONS, 3, &[("min.insync.replicas", "2")])?;
    let (history, said) = (cluster.dir().join("bank.txt"), cluster.dir().join("bank.err"));
    let mut command = Command::new(setup::python()?);
    command.env("PYTHONDONTWRITEBYTECODE", "1");
    command.arg(setup::sources().join("python").join("bank.py"));
    command.args([&cluster.bootstrap(), TOPIC, &PARTITIONS.to_string(), &WORKERS.to_string()]);
    command.stdin(Stdio::piped());
    command.stdout(File::create(&history)?).stderr(File::create(&said)?);
    let mut program = command.spawn().context("start the bank")?;
    let faults = strike(cluster);
    let mut stdin = program.stdin.take().context("the bank's standard input")?;
    let told = stdin.write_all(b"stop\n");
    let ended = wait::until("the end of the bank", END_MAX, || Ok(program.try_wait()?));
    if ended.is_err() {
        let _ = program.kill();
        let _ = program.wait();
    }
    let said = std::fs::read_to_string(&said).unwrap_or_default();
    faults.with_context(|| said.clone())?;
    told.with_context(|| said.clone())?;
    ensure!(ended.with_context(|| said.clone())?.success(), "the bank failed\n{said}");
    let counts = bank::check(&std::fs::read_to_string(&history)?).with_context(|| said.clone())?;
    println!("{counts:?}");
    ensure!(counts.committed > 50 && counts.aborted > 5, "too little happened: {counts:?}\n{said}");
    Ok(())
}

/// Each broker is killed and paused in its turn.
fn strike(cluster: &mut Cluster) -> Result<()> {
    let ids: Vec<usize> = cluster.ids().collect();
    std::thread::sleep(AWAY);
    for round in 0..rounds() {
        let victim = ids[round % ids.len()];
        let kills = (round / ids.len()).is_multiple_of(2);
        if kills {
            cluster.kill(victim)?;
        } else {
            cluster.pause(victim)?;
        }
        std::thread::sleep(AWAY);
        if kills {
            cluster.start_broker(victim)?;
        } else {
            cluster.resume(victim)?;
        }
        cluster.wait_broker(victim)?;
        cluster.wait_in_sync().with_context(|| format!("after round {round}"))?;
        cluster.check_alive()?;
    }
    Ok(())
}
