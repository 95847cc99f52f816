//! MirrorMaker 2 from a cluster to itself, under another name: records and checkpoints arrive, and
//! it finds out that there are no rules to copy instead of failing at them again and again.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use e2e::cluster::java;
use e2e::process::{Process, tail};
use e2e::raw::Raw;
use e2e::{Cluster, ClusterConfig, setup, wait, with_cluster};
use wire::messages::ListOffsetsRequest;
use wire::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};

const TOPIC: &str = "mirrored";
const MIRROR: &str = "near.mirrored";
const RECORDS: i64 = 25;
const LATEST: i64 = -1;

#[test]
fn mirror_maker_copies_and_gives_the_rules_up() {
    let config = ClusterConfig::new(1).set("offsets.topic.replication.factor", 1);
    with_cluster(config, |cluster| {
        cluster.admin()?.create_topic(TOPIC, 1, 1, &[])?;
        let lines: String = (0..RECORDS).map(|i| format!("record {i}\n")).collect();
        let address = cluster.address(1);
        e2e::clients::kcat(&["-P", "-b", &address, "-t", TOPIC], &lines)?;
        let mut maker = start(cluster)?;
        wait::until("the records in the mirror", Duration::from_secs(120), || {
            ensure!(maker.alive(), "it ended\n{}", tail(maker.log(), 30));
            Ok((end(&address, MIRROR)? == RECORDS).then_some(()))
        })?;
        wait::until("the rules to be looked at", Duration::from_secs(60), || {
            let log = std::fs::read_to_string(maker.log())?;
            Ok(log.contains("No ACL authorizer").then_some(()))
        })?;
        let log = std::fs::read_to_string(maker.log())?;
        let complains = |line: &&str| {
            (line.starts_with("ERROR") || line.starts_with("WARN")) && line.contains("ACL")
        };
        let complaints: Vec<&str> = log.lines().filter(complains).collect();
        ensure!(complaints.is_empty(), "{complaints:?}");
        Ok(())
    });
}

fn start(cluster: &Cluster) -> Result<Process> {
    let address = cluster.address(1);
    let mut text = format!(
        "clusters=near,far\nnear.bootstrap.servers={address}\nfar.bootstrap.servers={address}\n\
         near->far.enabled=true\nfar->near.enabled=false\nnear->far.topics={TOPIC}\n\
         near->far.sync.topic.acls.interval.seconds=2\n\
         near->far.refresh.topics.interval.seconds=2\noffset.storage.partitions=2\n\
         status.storage.partitions=2\nreplication.factor=1\n"
    );
    for topic in ["checkpoints.topic", "heartbeats.topic", "offset-syncs.topic"] {
        text.push_str(&format!("{topic}.replication.factor=1\n"));
    }
    for topic in ["offset.storage", "status.storage", "config.storage"] {
        text.push_str(&format!("{topic}.replication.factor=1\n"));
    }
    let file = cluster.dir().join("mirror.properties");
    std::fs::write(&file, text)?;
    let logging = "status=warn\nrootLogger.level=info\nrootLogger.appenderRef.c.ref=c\n\
                   appender.c.type=Console\nappender.c.name=c\n\
                   appender.c.layout.type=PatternLayout\nappender.c.layout.pattern=%p %m%n\n";
    let log4j = cluster.dir().join("mirror-log4j2.properties");
    std::fs::write(&log4j, logging)?;
    let mut command = java(&setup::mirror_maker()?, "-Xmx400m");
    // The later one counts.
    command.arg(format!("-Dlog4j2.configurationFile={}", log4j.display()));
    command.arg("org.apache.kafka.connect.mirror.MirrorMaker").arg(&file);
    Process::spawn(&mut command, &cluster.dir().join("mirror.log"))
}

/// The end of a topic's only partition; 0 where it does not exist yet.
fn end(address: &str, topic: &str) -> Result<i64> {
    let asked = ListOffsetsPartition {
        timestamp: LATEST,
        current_leader_epoch: -1,
        ..ListOffsetsPartition::default()
    };
    let topics = vec![ListOffsetsTopic { name: topic.into(), partitions: vec![asked] }];
    let request = ListOffsetsRequest { replica_id: -1, topics, ..Default::default() };
    let answer = Raw::connect(address)?.call(&request, 7, Duration::from_secs(10))?;
    let topic = answer.topics.first().context("no topic in the answer")?;
    let partition = topic.partitions.first().context("no partition in the answer")?;
    Ok(if partition.error_code == 0 { partition.offset } else { 0 })
}
