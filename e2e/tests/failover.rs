//! Leaders die and fall silent under continuous idempotent acks=all writes: nothing acknowledged is
//! lost, doubled or reordered, and the writes go on within the time that the project promises.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use e2e::admin::Admin;
use e2e::load::{Load, longest_gap, now_ns, summary};
use e2e::raw::Raw;
use e2e::victim::choose;
use e2e::{Cluster, ClusterConfig, wait, with_cluster};
use wire::messages::MetadataRequest;
use wire::messages::metadata_request::MetadataRequestTopic;

const TOPIC: &str = "failover";
const PARTITIONS: i32 = 6;
const RATE: u32 = 100;

/// One kind of fault, repeated.
struct Faults {
    rounds: usize,
    /// How long the faulty broker stays away.
    away: Duration,
    median_max: Duration,
    longest_max: Duration,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    Kill,
    Pause,
}

fn rounds(default: usize) -> usize {
    let set = std::env::var("BARNABAS_E2E_ROUNDS").ok();
    set.and_then(|rounds| rounds.parse().ok()).unwrap_or(default)
}

#[test]
fn leaders_are_killed() {
    let faults = Faults {
        rounds: rounds(20),
        away: Duration::from_millis(2000),
        median_max: Duration::from_millis(500),
        longest_max: Duration::from_millis(1500),
    };
    with_cluster(ClusterConfig::new(3), |cluster| run(cluster, Kind::Kill, &faults));
}

#[test]
fn leaders_are_paused() {
    let faults = Faults {
        rounds: rounds(10),
        away: Duration::from_millis(4000),
        median_max: Duration::from_millis(1500),
        longest_max: Duration::from_millis(3000),
    };
    with_cluster(ClusterConfig::new(3), |cluster| run(cluster, Kind::Pause, &faults));
}

/// A client that lost its leader asks another broker at once, and some ask again only after a
/// second: no answer names a leader whose process has ended.
#[test]
fn metadata_names_no_leader_that_was_killed() {
    with_cluster(ClusterConfig::new(3), |cluster| {
        let admin = cluster.admin()?;
        admin.create_topic(TOPIC, PARTITIONS, 3, &[("min.insync.replicas", "2")])?;
        for round in 0..4 {
            let (victim, _) = choose(&admin, TOPIC, round % 2 == 1)?;
            let others: Vec<usize> = cluster.ids().filter(|id| *id != victim).collect();
            let mut clients = Vec::new();
            for other in &others {
                clients.push(Raw::connect(&cluster.address(*other))?);
            }
            cluster.kill(victim)?;
            for client in &mut clients {
                named_leaders(client, victim).with_context(|| format!("round {round}"))?;
            }
            new_leaders(&cluster.admin_without(victim)?, victim)?;
            cluster.start_broker(victim)?;
            cluster.wait_broker(victim)?;
            cluster.wait_in_sync()?;
        }
        Ok(())
    });
}

/// Asks for the topic; the answer must name leaders other than the victim, or none.
fn named_leaders(client: &mut Raw, victim: usize) -> Result<()> {
    let topic = MetadataRequestTopic { name: Some(TOPIC.into()), ..Default::default() };
    let request = MetadataRequest { topics: Some(vec![topic]), ..Default::default() };
    let answer = client.call(&request, 12, Duration::from_secs(5))?;
    let victim = i32::try_from(victim)?;
    let partitions: Vec<_> = answer.topics.iter().flat_map(|t| &t.partitions).collect();
    ensure!(partitions.len() == PARTITIONS.unsigned_abs() as usize, "{answer:?}");
    for partition in partitions {
        let (leader, code) = (partition.leader_id, partition.error_code);
        ensure!(leader != victim, "partition {}: the dead leader", partition.partition_index);
        ensure!((leader >= 0) == (code == 0), "leader {leader} with code {code}");
    }
    Ok(())
}

fn run(cluster: &mut Cluster, kind: Kind, faults: &Faults) -> Result<()> {
    let admin = cluster.admin()?;
    let min_isr = ("min.insync.replicas", "2");
    admin.create_topic(TOPIC, PARTITIONS, 3, &[min_isr])?;
    let mut load = Load::start(&cluster.bootstrap(), TOPIC, PARTITIONS, RATE, cluster.dir())?;
    let mut windows = Vec::new();
    for round in 0..faults.rounds {
        let controller_too = round % 2 == 1;
        let (victim, controller) = choose(&admin, TOPIC, controller_too)?;
        ensure!((victim == controller) == controller_too, "round {round}: {victim}, {controller}");
        let at = now_ns()?;
        match kind {
            Kind::Kill => cluster.kill(victim)?,
            Kind::Pause => cluster.pause(victim)?,
        }
        new_leaders(&cluster.admin_without(victim)?, victim)
            .with_context(|| format!("round {round}, broker {victim}"))?;
        std::thread::sleep(faults.away);
        windows.push((at, now_ns()?, victim, controller));
        match kind {
            Kind::Kill => cluster.start_broker(victim)?,
            Kind::Pause => cluster.resume(victim)?,
        }
        cluster.wait_broker(victim)?;
        cluster.wait_in_sync().with_context(|| format!("after round {round}"))?;
        cluster.check_alive()?;
    }
    let acks = load.finish()?;
    println!("{}", load.verify()?);
    let mut gaps = Vec::new();
    for (round, (from, to, victim, controller)) in windows.iter().enumerate() {
        let gap = longest_gap(&acks, *from, *to);
        let role = if controller == victim { ", the active controller" } else { "" };
        println!("{kind:?} {round}: broker {victim}{role}: gap {} ms", gap.as_millis());
        gaps.push(gap);
    }
    let (median, longest) = summary(&gaps);
    println!("{kind:?}: median {} ms, longest {} ms", median.as_millis(), longest.as_millis());
    admin.wait_in_sync(&[TOPIC], Duration::from_secs(30))?;
    if cluster.config().target == e2e::Target::Barnabas {
        ensure!(median < faults.median_max, "the median gap is {median:?}");
        ensure!(longest < faults.longest_max, "the longest gap is {longest:?}");
    }
    Ok(())
}

fn new_leaders(others: &Admin, victim: usize) -> Result<()> {
    let victim = i32::try_from(victim)?;
    wait::until("live leaders everywhere", Duration::from_secs(30), || {
        let partitions = others.partitions(&[TOPIC])?;
        Ok(partitions.values().all(|p| p.leader >= 0 && p.leader != victim).then_some(()))
    })
}
