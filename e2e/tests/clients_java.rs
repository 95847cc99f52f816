//! The official Java client and the official command-line tools against three brokers.

use anyhow::{Result, ensure};
use e2e::clients::{tool, tool_ok};
use e2e::{ClusterConfig, clients, with_cluster};

const TOPICS: &str = "org.apache.kafka.tools.TopicCommand";
const CONFIGS: &str = "org.apache.kafka.tools.ConfigCommand";
const GROUPS: &str = "org.apache.kafka.tools.consumer.group.ConsumerGroupCommand";
const OFFSETS: &str = "org.apache.kafka.tools.GetOffsetShell";
const CONSOLE_PRODUCER: &str = "org.apache.kafka.tools.ConsoleProducer";
const CONSOLE_CONSUMER: &str = "org.apache.kafka.tools.consumer.ConsoleConsumer";
const PRODUCER_PERF: &str = "org.apache.kafka.tools.ProducerPerformance";
const CONSUMER_PERF: &str = "org.apache.kafka.tools.ConsumerPerformance";
const QUORUM: &str = "org.apache.kafka.tools.MetadataQuorumCommand";
const ELECTION: &str = "org.apache.kafka.tools.LeaderElectionCommand";
const VERSIONS: &str = "org.apache.kafka.tools.BrokerApiVersionsCommand";
const CLUSTER: &str = "org.apache.kafka.tools.ClusterTool";

#[test]
fn official_client() {
    with_cluster(ClusterConfig::new(3), clients::java_scenarios);
}

#[test]
fn official_tools() {
    with_cluster(ClusterConfig::new(3), |cluster| {
        let at = cluster.bootstrap();
        topic_tools(&at)?;
        console(&at)?;
        performance(&at)?;
        group_tools(&at)?;
        cluster_tools(&at)
    });
}

fn topic_tools(at: &str) -> Result<()> {
    let on = ["--bootstrap-server", at];
    let create = ["--create", "--topic", "tools", "--partitions", "2", "--replication-factor", "3"];
    tool_ok(TOPICS, &[&on[..], &create].concat(), "")?;
    let wider = ["--alter", "--topic", "tools", "--partitions", "4"];
    tool_ok(TOPICS, &[&on[..], &wider].concat(), "")?;
    let described = tool_ok(TOPICS, &[&on[..], &["--describe", "--topic", "tools"]].concat(), "")?;
    ensure!(described.contains("PartitionCount: 4"), "{described}");
    ensure!(described.contains("ReplicationFactor: 3"), "{described}");
    let again = tool(TOPICS, &[&on[..], &create].concat(), "")?;
    ensure!(!again.success && again.out.contains("already exists"), "{again:?}");
    let entity = ["--entity-type", "topics", "--entity-name", "tools"];
    let alter = ["--alter", "--add-config", "retention.ms=120000"];
    tool_ok(CONFIGS, &[&on[..], &entity, &alter].concat(), "")?;
    let described = tool_ok(CONFIGS, &[&on[..], &entity, &["--describe"]].concat(), "")?;
    ensure!(described.contains("retention.ms=120000"), "{described}");
    let all = ["--describe", "--all", "--entity-type", "brokers", "--entity-name", "1"];
    let broker = tool_ok(CONFIGS, &[&on[..], &all].concat(), "")?;
    ensure!(broker.contains("log.segment.bytes=1073741824"), "{broker}");
    Ok(())
}

fn console(at: &str) -> Result<()> {
    let input = "one\ntwo\nthree\n";
    tool_ok(CONSOLE_PRODUCER, &["--bootstrap-server", at, "--topic", "tools"], input)?;
    let keyed = ["--reader-property", "parse.key=true", "--reader-property", "key.separator=:"];
    let produce = ["--bootstrap-server", at, "--topic", "tools", "--compression-codec", "zstd"];
    tool_ok(CONSOLE_PRODUCER, &[&produce[..], &keyed].concat(), "k:four\n")?;
    let consume = ["--bootstrap-server", at, "--topic", "tools", "--from-beginning"];
    let stop = ["--max-messages", "4", "--timeout-ms", "20000", "--group", "console"];
    let read = tool_ok(CONSOLE_CONSUMER, &[&consume[..], &stop].concat(), "")?;
    let mut lines: Vec<&str> = read.lines().collect();
    lines.sort_unstable();
    assert_eq!(lines, ["four", "one", "three", "two"]);
    let offsets = tool_ok(OFFSETS, &["--bootstrap-server", at, "--topic", "tools"], "")?;
    let sum = |text: &str| -> u32 {
        text.lines().filter_map(|l| l.rsplit(':').next()?.trim().parse::<u32>().ok()).sum()
    };
    assert_eq!(sum(&offsets), 4, "{offsets}");
    Ok(())
}

fn performance(at: &str) -> Result<()> {
    let server = format!("bootstrap.servers={at}");
    let produce = ["--topic", "tools", "--num-records", "20000", "--record-size", "100"];
    let props = ["--throughput", "-1", "--producer-props", &server, "acks=all"];
    let produced = tool_ok(PRODUCER_PERF, &[&produce[..], &props].concat(), "")?;
    ensure!(produced.contains("20000 records sent"), "{produced}");
    let consume = ["--bootstrap-server", at, "--topic", "tools", "--num-records", "20000"];
    let consumed = tool_ok(CONSUMER_PERF, &[&consume[..], &["--timeout", "20000"]].concat(), "")?;
    // The second line holds start, end, MB, MB/s and the number of records.
    let line = consumed.lines().nth(1).unwrap_or_default();
    let count = line.split(", ").nth(4).and_then(|count| count.parse::<u32>().ok());
    ensure!(count.is_some_and(|count| count >= 20_000), "{consumed}");
    Ok(())
}

fn group_tools(at: &str) -> Result<()> {
    let on = ["--bootstrap-server", at];
    let listed = tool_ok(GROUPS, &[&on[..], &["--list"]].concat(), "")?;
    ensure!(listed.lines().any(|line| line == "console"), "{listed}");
    let group = ["--group", "console"];
    let described = tool_ok(GROUPS, &[&on[..], &group, &["--describe"]].concat(), "")?;
    ensure!(described.contains("tools"), "{described}");
    let reset = ["--topic", "tools", "--reset-offsets", "--to-earliest", "--execute"];
    tool_ok(GROUPS, &[&on[..], &group, &reset].concat(), "")?;
    let state = tool_ok(GROUPS, &[&on[..], &group, &["--describe", "--state"]].concat(), "")?;
    ensure!(state.contains("Empty"), "{state}");
    let deleted = tool_ok(GROUPS, &[&on[..], &group, &["--delete"]].concat(), "")?;
    ensure!(deleted.contains("was successful"), "{deleted}");
    Ok(())
}

fn cluster_tools(at: &str) -> Result<()> {
    let on = ["--bootstrap-server", at];
    let status = tool_ok(QUORUM, &[&on[..], &["describe", "--status"]].concat(), "")?;
    ensure!(status.contains("LeaderId:") && status.contains("CurrentVoters:"), "{status}");
    let replicas = tool_ok(QUORUM, &[&on[..], &["describe", "--replication"]].concat(), "")?;
    ensure!(replicas.lines().filter(|line| line.contains("Follower")).count() == 2, "{replicas}");
    let elect = ["--election-type", "preferred", "--all-topic-partitions"];
    tool_ok(ELECTION, &[&on[..], &elect].concat(), "")?;
    let versions = tool_ok(VERSIONS, &on, "")?;
    ensure!(versions.contains("Fetch(1)") && versions.contains("id: 3"), "{versions}");
    let id = tool_ok(CLUSTER, &[&["cluster-id"], &on[..]].concat(), "")?;
    ensure!(id.contains("Cluster ID:"), "{id}");
    let on_delete = ["--delete", "--topic", "tools"];
    tool_ok(TOPICS, &[&on[..], &on_delete].concat(), "")?;
    Ok(())
}
