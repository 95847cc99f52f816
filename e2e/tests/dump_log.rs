//! Everything a broker writes, judged by Apache Kafka's own dump-log tool: after plain writes in
//! every codec, offset commits, rolls, a kill and recovery.

use std::time::Duration;

use anyhow::{Result, ensure};
use e2e::clients::{self, kcat};
use e2e::load::Load;
use e2e::{Cluster, ClusterConfig, Target, dump, wait, with_cluster};

#[test]
fn the_dump_tool_finds_no_fault() {
    // Small segments and denser indexes, so that all kinds of files come to be.
    let config = ClusterConfig::new(3)
        .set("log.segment.bytes", 1 << 20)
        .set("log.index.interval.bytes", 2048)
        .set("log.roll.jitter.ms", 0);
    with_cluster(config, |cluster| {
        write(cluster)?;
        // The indexes of a running Apache Kafka are filled up with zeros; its own tool stumbles.
        let running = cluster.config().target == Target::Barnabas;
        for id in cluster.ids().filter(|_| running) {
            wait::until("indexes of sealed segments", Duration::from_secs(30), || {
                Ok(dump::sealed_have_indexes(&cluster.data_dir(id))?.then_some(()))
            })?;
            println!("broker {id}: {} files", dump::check(&cluster.data_dir(id))?);
        }
        // As a crash leaves them (nobody writes, so no batch is torn), and as recovery and a clean
        // shutdown leave them after it.
        let controller = usize::try_from(cluster.admin()?.controller_agreed()?)?;
        cluster.kill(controller)?;
        if running {
            let files = dump::check(&cluster.data_dir(controller))?;
            println!("broker {controller}: {files} files after its death");
        }
        // Or the others might tell of its former run.
        let others = cluster.admin_without(controller)?;
        wait::until("the others to miss it", Duration::from_secs(30), || {
            let id = i32::try_from(controller)?;
            Ok(others.partitions_agreed(&[])?.values().all(|p| !p.isr.contains(&id)).then_some(()))
        })?;
        cluster.start_broker(controller)?;
        cluster.wait_broker(controller)?;
        cluster.wait_in_sync()?;
        for id in cluster.ids() {
            cluster.stop(id)?;
            println!("broker {id}: {} files after its end", dump::check(&cluster.data_dir(id))?);
        }
        Ok(())
    });
}

fn write(cluster: &mut Cluster) -> Result<()> {
    let admin = cluster.admin()?;
    let bootstrap = cluster.bootstrap();
    admin.create_topic("dump", 2, 3, &[("min.insync.replicas", "2")])?;
    let line = "some text that compresses somewhat, number ";
    let input: String = (0..10_000).map(|i| format!("{line}{i}\n")).collect();
    for codec in ["none", "gzip", "snappy", "lz4", "zstd"] {
        kcat(&["-P", "-b", &bootstrap, "-t", "dump", "-p", "0", "-z", codec], &input)?;
    }
    // Idempotent producers leave snapshots; a leader's death leaves a second epoch.
    let dir = tempfile::tempdir()?;
    admin.create_topic("dump-idempotent", 2, 3, &[("segment.bytes", "1048576")])?;
    let mut load = Load::start(&bootstrap, "dump-idempotent", 2, 500, dir.path())?;
    let rolled = cluster.data_dir(1).join("dump-idempotent-0");
    wait::until("a rolled segment", Duration::from_secs(60), || {
        let logs = std::fs::read_dir(&rolled)?
            .flatten()
            .filter(|file| file.path().extension().is_some_and(|extension| extension == "log"));
        Ok((logs.count() > 1).then_some(()))
    })?;
    load.finish()?;
    // A group leaves records in __consumer_offsets.
    let group = ["-b", &bootstrap, "-G", "dump-group", "-c", "1000", "-q"];
    let topic = ["-X", "auto.offset.reset=earliest", "dump"];
    let read = kcat(&[&group[..], &topic[..]].concat(), "")?;
    ensure!(read.lines().count() == 1000, "{} lines", read.lines().count());
    let at = ["--bootstrap-server", &bootstrap, "--group", "dump-group"];
    let commands = "org.apache.kafka.tools.consumer.group.ConsumerGroupCommand";
    let reset = ["--topic", "dump", "--reset-offsets", "--to-latest", "--execute"];
    clients::tool_ok(commands, &[&at[..], &reset].concat(), "")?;
    Ok(())
}
