//! Ten thousand partitions are being created when a leader dies. Its partitions get another leader
//! as quickly as at any other time: nobody waits for the disks that new logs are made on.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use e2e::admin::{Admin, check};
use e2e::load::{Load, longest_gap, now_ns};
use e2e::{Cluster, ClusterConfig, wait, with_cluster};
use wire::messages::CreateTopicsRequest;
use wire::messages::create_topics_request::CreatableTopic;

const TOPIC: &str = "judged";
const PARTITIONS: i32 = 6;
const RATE: u32 = 100;
/// Ten thousand partitions.
const TOPICS: usize = 20;
const PARTITIONS_EACH: i32 = 500;
/// How long after the fault the writes are looked at.
const WATCHED: Duration = Duration::from_secs(10);
const GAP_MAX: Duration = Duration::from_millis(500);
const MADE: Duration = Duration::from_secs(300);

#[test]
fn a_leader_is_replaced_while_ten_thousand_partitions_are_created() {
    with_cluster(ClusterConfig::new(3), |cluster| {
        let admin = cluster.admin()?;
        admin.create_topic(TOPIC, PARTITIONS, 3, &[("min.insync.replicas", "2")])?;
        let mut load = Load::start(&cluster.bootstrap(), TOPIC, PARTITIONS, RATE, cluster.dir())?;
        thread::sleep(Duration::from_secs(1));
        let victim = victim(&admin)?;
        let creating = thread::spawn({
            let others = cluster.admin_without(victim)?;
            move || create(&others)
        });
        wait::until("the first of the new topics", Duration::from_secs(60), || {
            Ok((topics(&admin)? > TOPICS / 4).then_some(()))
        })?;
        let (began, at) = (Instant::now(), now_ns()?);
        let known = topics(&cluster.admin_without(victim)?)?;
        cluster.kill(victim)?;
        thread::sleep(WATCHED);
        let until = now_ns()?;
        creating.join().map_err(|_| anyhow::anyhow!("the creation panicked"))??;
        println!("{known} of {TOPICS} topics at the kill, all {:?} after it", began.elapsed());
        cluster.start_broker(victim)?;
        cluster.wait_broker(victim)?;
        let acks = load.finish()?;
        println!("{}", load.verify()?);
        let gap = longest_gap(&acks, at, until);
        println!("broker {victim} killed: gap {} ms", gap.as_millis());
        everything_is_made(cluster)?;
        ensure!(gap < GAP_MAX, "the gap is {gap:?}");
        Ok(())
    });
}

/// A leader that is not the active controller.
fn victim(admin: &Admin) -> Result<usize> {
    let controller = admin.controller_agreed()?;
    let partitions = admin.partitions_agreed(&[TOPIC])?;
    let mut leaders = partitions.values().map(|p| p.leader);
    let leader = leaders.find(|leader| *leader != controller).context("a leader to kill")?;
    Ok(usize::try_from(leader)?)
}

fn create(admin: &Admin) -> Result<()> {
    for index in 0..TOPICS {
        let topic = CreatableTopic {
            name: format!("many-{index}").into(),
            num_partitions: PARTITIONS_EACH,
            // Two of them are alive after the kill.
            replication_factor: 2,
            ..CreatableTopic::default()
        };
        let (topics, timeout_ms) = (vec![topic], 30_000);
        let request = CreateTopicsRequest { topics, timeout_ms, validate_only: false };
        let response = admin.call(&request)?;
        let result = response.topics.first().context("CreateTopics without its topic")?;
        check(result.error_code, "creating one of many topics")?;
    }
    Ok(())
}

/// How many of the new topics are known.
fn topics(admin: &Admin) -> Result<usize> {
    let names: Vec<String> = (0..TOPICS).map(|index| format!("many-{index}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let metadata = admin.metadata(&names)?;
    Ok(metadata.topics.iter().filter(|topic| topic.error_code == 0).count())
}

/// Every replica of every partition is there and in sync in the end.
fn everything_is_made(cluster: &Cluster) -> Result<()> {
    let names: Vec<String> = (0..TOPICS).map(|index| format!("many-{index}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    cluster.admin()?.wait_in_sync(&names, MADE).map(drop)
}
