//! Consumers that read from the replica in their rack (KIP-392), with the Java client: it is told
//! its rack, and the brokers' metrics say who served it. librdkafka does the same, but stays with a
//! preferred replica that died for five minutes.

use std::fs::{self, File};
use std::process::{Child, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use e2e::clients::{java_command, kcat};
use e2e::{Cluster, ClusterConfig, metrics, wait, with_cluster};

const TOPIC: &str = "near";
const CONSUMER: &str = "org.apache.kafka.tools.consumer.ConsoleConsumer";
const PATIENCE: Duration = Duration::from_secs(60);
const SELECTOR: &str = "org.apache.kafka.common.replica.RackAwareReplicaSelector";
/// Of each round of records.
const COUNT: usize = 500;

#[test]
fn a_consumer_reads_from_its_rack_and_outlives_that_replica() {
    let mut config = ClusterConfig::new(3).set("replica.selector.class", SELECTOR);
    config.pod_config = true;
    with_cluster(config, run);
}

fn run(cluster: &mut Cluster) -> Result<()> {
    for id in cluster.ids() {
        fs::write(cluster.pod_file(id), format!("broker.rack=rack-{id}\n"))?;
    }
    let admin = cluster.admin()?;
    wait::until("the racks", PATIENCE, || {
        let brokers = admin.metadata(&[])?.brokers;
        Ok((brokers.len() == 3 && brokers.iter().all(|b| b.rack.is_some())).then_some(()))
    })?;
    admin.create_topic(TOPIC, 1, 3, &[("min.insync.replicas", "2")])?;
    produce(cluster, 0)?;
    cluster.wait_in_sync()?;
    let (leader, near) = leader_and_another(cluster)?;

    let mut reader = Reader::start(cluster, near, 3 * COUNT)?;
    wait::until("records of the near replica", PATIENCE, || {
        Ok((served(cluster, near)? > 0.0).then_some(()))
    })?;
    // It waits at its follower, which hears of what is committed.
    produce(cluster, COUNT)?;
    wait::until("new records of the near replica", PATIENCE, || {
        Ok((reader.read()?.len() >= 2 * COUNT).then_some(()))
    })?;
    let by_leader = served(cluster, leader)?;
    ensure!(by_leader == 0.0, "the leader served {by_leader} bytes");

    cluster.kill(near)?;
    produce(cluster, 2 * COUNT)?;
    let read = reader.finish()?;
    ensure!(read == (0..3 * COUNT).collect::<Vec<_>>(), "{read:?}");
    cluster.start_broker(near)?;
    cluster.wait_broker(near)
}

/// Bytes of records that the broker served to consumers.
fn served(cluster: &Cluster, id: usize) -> Result<f64> {
    metrics::scrape(&cluster.http(id))?.value("fetched_bytes_total")
}

fn produce(cluster: &Cluster, from: usize) -> Result<()> {
    let records: String = (from..from + COUNT).map(|n| format!("record {n}\n")).collect();
    kcat(&["-P", "-b", &cluster.bootstrap(), "-t", TOPIC, "-p", "0"], &records).map(drop)
}

fn leader_and_another(cluster: &Cluster) -> Result<(usize, usize)> {
    let metadata = cluster.admin()?.metadata(&[TOPIC])?;
    let topic = metadata.topics.first().context("the topic")?;
    let leader = topic.partitions.first().context("its partition")?.leader_id as usize;
    let other = cluster.ids().find(|id| *id != leader).context("a follower")?;
    Ok((leader, other))
}

/// A running consumer that writes what it reads to a file.
struct Reader {
    child: Child,
    out: std::path::PathBuf,
}

impl Reader {
    fn start(cluster: &Cluster, near: usize, count: usize) -> Result<Reader> {
        let out = cluster.dir().join("read");
        let (bootstrap, count) = (cluster.bootstrap(), count.to_string());
        let rack = format!("client.rack=rack-{near}");
        let mut command = java_command()?;
        command.args([CONSUMER, "--bootstrap-server", &bootstrap, "--topic", TOPIC]);
        command.args(["--partition", "0", "--offset", "earliest", "--max-messages", &count]);
        command.args(["--command-property", &rack]);
        command
            .stdin(Stdio::null())
            .stdout(File::create(&out)?)
            .stderr(File::create(cluster.dir().join("read.err"))?);
        Ok(Reader { child: command.spawn().context("start the consumer")?, out })
    }

    fn read(&self) -> Result<Vec<usize>> {
        let text = fs::read_to_string(&self.out)?;
        let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
        let number = |line: &str| Ok(line.strip_prefix("record ").context("a record")?.parse()?);
        whole.lines().map(number).collect()
    }

    fn finish(&mut self) -> Result<Vec<usize>> {
        let ended =
            wait::until("the end of the consumer", PATIENCE, || Ok(self.child.try_wait()?))?;
        ensure!(ended.success(), "the consumer ended with {ended}");
        self.read()
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
