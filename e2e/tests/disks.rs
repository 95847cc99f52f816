//! Disks that fill and disks that fail, as file systems of their own: a small one in memory, and
//! one on a loop device that is shut down as the kernel does it after a fatal error. Mounting needs
//! root; without it the tests fail, for what they show must not go unseen.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use base::ErrorCode;
use bytes::Bytes;
use e2e::admin::Admin;
use e2e::{Cluster, ClusterConfig, http, metrics, wait, with_cluster};
use record::{BatchBuilder, BatchOptions};
use wire::messages::delete_topics_request::DeleteTopicState;
use wire::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use wire::messages::produce_request::{PartitionProduceData, TopicProduceData};
use wire::messages::{
    DeleteTopicsRequest, DescribeLogDirsRequest, ListOffsetsRequest, ProduceRequest,
};

const PATIENCE: Duration = Duration::from_secs(60);
const RECORD_BYTES: usize = 200_000;

/// Unmounted when it goes, whatever uses it.
struct Mount(PathBuf);

impl Mount {
    fn tmpfs(at: &Path, size: &str) -> Result<Mount> {
        fs::create_dir_all(at)?;
        command("mount", &["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs"], Some(at))?;
        Ok(Mount(at.to_owned()))
    }

    fn ext4(at: &Path, image: &Path) -> Result<Mount> {
        fs::create_dir_all(at)?;
        fs::File::create(image)?.set_len(64 << 20)?;
        command("mkfs.ext4", &["-q", "-F"], Some(image))?;
        let image = image.to_str().context("a path that is text")?;
        command("mount", &["-o", "loop", image], Some(at))?;
        Ok(Mount(at.to_owned()))
    }

    /// From now on the disk answers EIO, as after a fatal error.
    fn shut_down(&self) -> Result<()> {
        let ioctl = "import fcntl, os, struct, sys\n\
                     dir = os.open(sys.argv[1], os.O_RDONLY)\n\
                     fcntl.ioctl(dir, 0x8004587D, struct.pack('I', 2))\n";
        command("python3", &["-c", ioctl], Some(&self.0))
    }

    /// The disk was repaired.
    fn again(&self, image: &Path) -> Result<()> {
        command("umount", &[], Some(&self.0))?;
        let image = image.to_str().context("a path that is text")?;
        command("mount", &["-o", "loop", image], Some(&self.0))
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        // Lazily: a broker may run yet.
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

fn command(program: &str, arguments: &[&str], path: Option<&Path>) -> Result<()> {
    let done = Command::new(program).args(arguments).args(path).output();
    let done = done.with_context(|| format!("{program} is needed"))?;
    let said = String::from_utf8_lossy(&done.stderr);
    ensure!(done.status.success(), "{program} {arguments:?} (needs root): {said}");
    Ok(())
}

fn produce(admin: &Admin, address: &str, topic: &str, partition: i32) -> Result<ErrorCode> {
    let mut builder = BatchBuilder::new(BatchOptions::default());
    builder.append(1, Some(b"key"), Some(&[7; RECORD_BYTES]), &[]);
    let records = Some(Bytes::from(builder.finish()));
    let data = PartitionProduceData { index: partition, records };
    let topic_id = admin.metadata(&[topic])?.topics.first().context("the topic")?.topic_id;
    let topic_data = TopicProduceData { name: topic.into(), topic_id, partition_data: vec![data] };
    let request = ProduceRequest {
        acks: 1,
        timeout_ms: 5_000,
        topic_data: vec![topic_data],
        ..Default::default()
    };
    let answer = admin.call_at(address, &request)?;
    let topic = answer.responses.first().context("an answer for the topic")?;
    let code = topic.partition_responses.first().context("for the partition")?.error_code;
    ErrorCode::from_i16(code).with_context(|| format!("error code {code}"))
}

fn end_offset(admin: &Admin, address: &str, topic: &str) -> Result<i64> {
    let partition =
        ListOffsetsPartition { partition_index: 0, timestamp: -1, ..Default::default() };
    let topic = ListOffsetsTopic { name: topic.into(), partitions: vec![partition] };
    let request = ListOffsetsRequest { replica_id: -1, topics: vec![topic], ..Default::default() };
    let answer = admin.call_at(address, &request)?;
    let topic = answer.topics.first().context("the topic")?;
    Ok(topic.partitions.first().context("the partition")?.offset)
}

#[test]
fn a_full_disk_refuses_records_and_heals_when_there_is_room() {
    let dir = tempfile::tempdir().unwrap();
    let disk = Mount::tmpfs(&dir.path().join("disk"), "48m").unwrap();
    let config = ClusterConfig::new(1)
        .set("log.dirs", disk.0.join("logs").display())
        .set("log.segment.delete.delay.ms", 0)
        .set("log.retention.check.interval.ms", 500);
    with_cluster(config, |cluster| {
        let (admin, address) = (cluster.admin()?, cluster.address(1));
        // Its records are of 1970.
        let for_ever = [("retention.ms", "-1")];
        admin.create_topic("full", 1, 1, &for_ever)?;
        admin.create_topic("victim", 1, 1, &for_ever)?;
        let mut written = 0;
        for topic in ["victim", "full"] {
            for _ in 0..60 {
                match produce(&admin, &address, topic, 0)? {
                    ErrorCode::None => written += i64::from(topic == "full"),
                    // Nothing else: the client asks for the leader again, and tries again.
                    ErrorCode::KafkaStorageError => break,
                    other => bail!("{other:?}"),
                }
            }
        }
        for topic in ["full", "victim"] {
            while produce(&admin, &address, topic, 0)? == ErrorCode::None {
                written += i64::from(topic == "full");
                ensure!(written < 1_000, "the disk never fills");
            }
        }
        // All but records goes on: reads, metadata, probes, and nobody died.
        cluster.check_alive()?;
        ensure!(end_offset(&admin, &address, "full")? == written, "what was refused is not there");
        for number in 0..20 {
            admin.create_topic(&format!("metadata-{number}"), 1, 1, &[])?;
        }
        wait_metric(cluster, "full_log_directory_count", 1.0)?;
        wait_metric(cluster, "offline_log_directory_count", 0.0)?;
        // A deleted topic makes room.
        delete(&admin, "victim")?;
        wait::until("records to be taken again", PATIENCE, || {
            let code = produce(&admin, &address, "full", 0)?;
            Ok((code == ErrorCode::None).then_some(()))
        })?;
        ensure!(end_offset(&admin, &address, "full")? == written + 1, "one more");
        cluster.stop(1)?;
        cluster.start_broker(1)?;
        cluster.wait_broker(1)?;
        ensure!(end_offset(&admin, &address, "full")? == written + 1, "also after a restart");
        Ok(())
    });
    drop(disk);
}

/// Gauges are brought up to date once a second.
fn wait_metric(cluster: &Cluster, name: &str, value: f64) -> Result<()> {
    wait::until(format!("{name} to be {value}"), PATIENCE, || {
        let found = metrics::scrape(&cluster.http(1))?.value(name)?;
        Ok((found == value).then_some(()))
    })
}

fn delete(admin: &Admin, topic: &str) -> Result<()> {
    let topics = vec![DeleteTopicState { name: Some(topic.into()), ..Default::default() }];
    let request = DeleteTopicsRequest { topics, timeout_ms: 5_000, ..Default::default() };
    let answer = admin.call(&request)?;
    let result = answer.responses.first().context("an answer")?;
    ensure!(result.error_code == 0, "delete: {}", result.error_code);
    Ok(())
}

#[test]
fn a_disk_that_fails_takes_its_partitions_elsewhere_and_comes_back_repaired() {
    let dir = tempfile::tempdir().unwrap();
    let image = dir.path().join("image");
    let disk = Mount::ext4(&dir.path().join("disk"), &image).unwrap();
    with_cluster(ClusterConfig::new(3), |cluster| {
        let second = disk.0.join("logs");
        with_second_disk(cluster, 1, &second)?;
        let admin = cluster.admin_without(1)?;
        // The first goes to the directory that is emptiest, the second disk.
        admin.create_topic("t", 4, 3, &[("min.insync.replicas", "2")])?;
        cluster.wait_in_sync()?;
        admin.elect_preferred()?;
        let on_disk = |partition: &i32| second.join(format!("t-{partition}")).exists();
        let failing: Vec<i32> = (0..4).filter(on_disk).collect();
        ensure!(!failing.is_empty() && failing.len() < 4, "both disks are used: {failing:?}");
        for partition in 0..4 {
            let leader = admin.partitions(&["t"])?[&("t".to_owned(), partition)].leader;
            let address = cluster.address(usize::try_from(leader)?);
            ensure!(produce(&admin, &address, "t", partition)? == ErrorCode::None, "it serves");
        }
        disk.shut_down()?;
        // Whoever writes or syncs hears of it.
        let me = cluster.address(1);
        wait::until("the failed replicas to leave their ISRs", PATIENCE, || {
            for partition in &failing {
                produce(&admin, &me, "t", *partition)?;
                let leader = admin.partitions(&["t"])?[&("t".to_owned(), *partition)].leader;
                if leader > 1 {
                    produce(&admin, &cluster.address(usize::try_from(leader)?), "t", *partition)?;
                }
            }
            let state = admin.partitions(&["t"])?;
            let gone = failing.iter().all(|partition| {
                let p = &state[&("t".to_owned(), *partition)];
                p.leader > 1 && !p.isr.contains(&1)
            });
            Ok(gone.then_some(()))
        })?;
        // The broker serves what is on its other disk, and says what is wrong.
        cluster.check_alive()?;
        let state = admin.partitions(&["t"])?;
        for partition in (0..4).filter(|partition| !failing.contains(partition)) {
            let p = &state[&("t".to_owned(), partition)];
            ensure!(p.isr.contains(&1), "{partition} is on the healthy disk: {p:?}");
        }
        let (status, ready) = http::get(&cluster.http(1), "/readyz")?;
        let name = second.to_str().context("a path that is text")?;
        ensure!(status == 503 && ready.contains(name), "/readyz names it: {ready}");
        wait_metric(cluster, "offline_log_directory_count", 1.0)?;
        let described = admin.call_at(&me, &DescribeLogDirsRequest::default())?;
        let of_disk = described.results.iter().find(|dir| &*dir.log_dir == name);
        let code = of_disk.context("the directory is described")?.error_code;
        ensure!(code == ErrorCode::KafkaStorageError.code(), "DescribeLogDirs: {code}");
        // Repaired, and started again.
        cluster.stop(1)?;
        disk.again(&image)?;
        cluster.start_broker(1)?;
        cluster.wait_broker(1)?;
        cluster.wait_in_sync()?;
        let (status, ready) = http::get(&cluster.http(1), "/readyz")?;
        ensure!(status == 200, "{ready}");
        Ok(())
    });
}

#[test]
fn without_the_disk_of_the_metadata_log_the_process_ends_and_says_why() {
    let dir = tempfile::tempdir().unwrap();
    let image = dir.path().join("image");
    let disk = Mount::ext4(&dir.path().join("disk"), &image).unwrap();
    let _one = e2e::exclusive();
    let config = ClusterConfig::new(1).set("log.dirs", disk.0.join("logs").display());
    let mut cluster = Cluster::start(config).unwrap();
    let admin = cluster.admin().unwrap();
    admin.create_topic("t", 1, 1, &[]).unwrap();
    disk.shut_down().unwrap();
    let log = cluster.process(1).unwrap().log().to_owned();
    wait::until("the process to end", PATIENCE, || {
        let _ = produce(&admin, &cluster.address(1), "t", 0);
        Ok(cluster.check_alive().is_err().then_some(()))
    })
    .unwrap();
    let said = e2e::process::tail(&log, 40);
    assert!(said.contains("FATAL: ") && said.contains("metadata log"), "{said}");
}

/// Gives a broker a second log directory.
fn with_second_disk(cluster: &mut Cluster, id: usize, second: &Path) -> Result<()> {
    cluster.stop(id)?;
    let file = cluster.properties_file(id);
    let text = fs::read_to_string(&file)?;
    let first = cluster.data_dir(id);
    let dirs = format!("log.dirs={},{}", first.display(), second.display());
    fs::write(&file, format!("{text}\n{dirs}\n"))?;
    cluster.start_broker(id)?;
    cluster.wait_broker(id)
}
