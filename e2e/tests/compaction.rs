//! A compacted topic and the topic of committed offsets shrink to their keys under clients that
//! write, abort and commit; real clients read the last values from the beginning, also after every
//! broker was killed, and Apache Kafka's dump-log tool finds no fault in what is left.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Result, ensure};
use e2e::{Cluster, ClusterConfig, clients, dump, metrics, wait, with_cluster};

const PATIENCE: Duration = Duration::from_secs(90);
/// What both topics have grown to when the clients are done is 6 MB at least.
const SHRUNK_BYTES: u64 = 5 << 19;

#[test]
fn compacted_topics_shrink_to_their_keys() {
    let config = ClusterConfig::new(3)
        .set("log.cleaner.backoff.ms", 200)
        .set("log.cleaner.threads", 2)
        .set("offsets.topic.num.partitions", 1)
        .set("offsets.topic.segment.bytes", 1 << 20)
        .set("log.segment.delete.delay.ms", 100);
    with_cluster(config, |cluster| {
        clients::python_scenarios_named(cluster, "compaction", &["fill"])?;
        for id in cluster.ids() {
            for partition in ["compacted-0", "__consumer_offsets-0"] {
                let dir = cluster.data_dir(id).join(partition);
                wait::until(format!("{partition} of broker {id} to shrink"), PATIENCE, || {
                    Ok((log_bytes(&dir)? < SHRUNK_BYTES).then_some(()))
                })?;
            }
        }
        check(cluster)?;
        for id in cluster.ids() {
            cluster.kill(id)?;
            cluster.start_broker(id)?;
            cluster.wait_broker(id)?;
            cluster.wait_in_sync()?;
        }
        check(cluster)?;
        // Of a broker that runs, files go while the tool reads their names.
        for id in cluster.ids() {
            cluster.stop(id)?;
            println!("broker {id}: {} files", dump::check_cleaned(&cluster.data_dir(id))?);
        }
        Ok(())
    });
}

fn check(cluster: &mut Cluster) -> Result<()> {
    clients::python_scenarios_named(cluster, "compaction", &["read-again"])?;
    for id in cluster.ids() {
        let series = metrics::scrape(&cluster.http(id))?;
        let failed = series.value("cleaner_uncleanable_partitions")?;
        ensure!(failed == 0.0, "broker {id} cannot clean {failed} logs");
    }
    Ok(())
}

/// Bytes of the segments' log files.
fn log_bytes(dir: &Path) -> Result<u64> {
    let mut bytes = 0;
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "log") {
            // It may be replaced at this moment.
            bytes += fs::metadata(&path).map_or(0, |metadata| metadata.len());
        }
    }
    Ok(bytes)
}
