//! Leaders die and fall silent under continuous idempotent acks=all writes: nothing acknowledged is
//! lost, doubled or reordered, and the writes go on within the time that the project promises.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use e2e::admin::Admin;
use e2e::load::{Load, longest_gap, now_ns, summary};
use e2e::{Cluster, ClusterConfig, wait, with_cluster};

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

fn run(cluster: &mut Cluster, kind: Kind, faults: &Faults) -> Result<()> {
    let admin = cluster.admin()?;
    let min_isr = ("min.insync.replicas", "2");
    admin.create_topic(TOPIC, PARTITIONS, 3, &[min_isr])?;
    let mut load = Load::start(&cluster.bootstrap(), TOPIC, PARTITIONS, RATE, cluster.dir())?;
    let mut windows = Vec::new();
    for round in 0..faults.rounds {
        let controller_too = round % 2 == 1;
        let (victim, controller) = choose(&admin, controller_too)?;
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

/// Every broker leads its share again; the victim is the active controller, or a leader that is
/// not. Returns the victim and the active controller, which still are that after a quiet moment.
fn choose(admin: &Admin, controller_too: bool) -> Result<(usize, usize)> {
    wait::until("a victim among preferred leaders", Duration::from_secs(40), || {
        let Some(chosen) = look(admin, controller_too)? else {
            admin.elect_preferred()?;
            return Ok(None);
        };
        settle();
        Ok((look(admin, controller_too)? == Some(chosen)).then_some(chosen))
    })
}

/// The victim and the active controller, as all brokers tell; nothing while a partition is not led
/// by its preferred leader.
fn look(admin: &Admin, controller_too: bool) -> Result<Option<(usize, usize)>> {
    let partitions = admin.partitions_agreed(&[TOPIC])?;
    if partitions.values().any(|p| p.replicas.first() != Some(&p.leader)) {
        return Ok(None);
    }
    let controller = admin.controller_agreed()?;
    let mut leaders = partitions.values().map(|p| p.leader);
    let victim = leaders
        .find(|leader| (*leader == controller) == controller_too)
        .with_context(|| format!("no leader to kill beside controller {controller}"))?;
    Ok(Some((usize::try_from(victim)?, usize::try_from(controller)?)))
}

/// Lets the load write undisturbed for a moment, so that a gap belongs to its own fault.
fn settle() {
    std::thread::sleep(Duration::from_millis(500));
}

fn new_leaders(others: &Admin, victim: usize) -> Result<()> {
    let victim = i32::try_from(victim)?;
    wait::until("live leaders everywhere", Duration::from_secs(30), || {
        let partitions = others.partitions(&[TOPIC])?;
        Ok(partitions.values().all(|p| p.leader >= 0 && p.leader != victim).then_some(()))
    })
}
