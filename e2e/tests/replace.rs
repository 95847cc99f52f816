//! A broker whose disk is lost comes back empty under its old id, and returns to every ISR with
//! every record.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use e2e::load::Load;
use e2e::{Cluster, ClusterConfig, wait, with_cluster};

const TOPIC: &str = "replace";
const PARTITIONS: i32 = 4;

#[test]
fn a_wiped_broker_returns_to_every_isr() {
    with_cluster(ClusterConfig::new(3), |cluster| {
        // Neither the active controller nor, in the second round, a broker that never was one.
        replace(cluster, false)?;
        replace(cluster, true)
    });
}

fn replace(cluster: &mut Cluster, the_controller: bool) -> Result<()> {
    let admin = cluster.admin()?;
    let topic = format!("{TOPIC}-{the_controller}");
    admin.create_topic(&topic, PARTITIONS, 3, &[("min.insync.replicas", "2")])?;
    let dir = tempfile::tempdir()?;
    let mut load = Load::start(&cluster.bootstrap(), &topic, PARTITIONS, 50, dir.path())?;
    wait::until("some records", Duration::from_secs(20), || {
        let files = fs::metadata(cluster.data_dir(1).join(format!("{topic}-0")));
        Ok(files.is_ok().then_some(()))
    })?;
    let controller = usize::try_from(admin.controller()?)?;
    let victim = cluster.ids().find(|id| (*id == controller) == the_controller);
    let victim = victim.unwrap_or(controller);
    cluster.kill(victim)?;
    cluster.wipe(victim)?;
    let others = cluster.admin_without(victim)?;
    wait::until("the others to lead", Duration::from_secs(30), || {
        let id = i32::try_from(victim)?;
        Ok(others.partitions(&[&topic])?.values().all(|p| p.leader != id).then_some(()))
    })?;
    cluster.start_broker(victim)?;
    cluster.wait_broker(victim)?;
    cluster.wait_in_sync()?;
    load.finish()?;
    println!("{}", load.verify()?);
    same_logs(cluster, &topic, victim)?;
    admin.elect_preferred()?;
    let partitions = cluster.admin()?.wait_in_sync(&[&topic], Duration::from_secs(30))?;
    ensure!(partitions.values().all(|p| p.isr.len() == 3), "{partitions:?}");
    Ok(())
}

/// Leaders are what the reader of the load has read from: that the new disk has the same, from the
/// first record on, only its files tell.
fn same_logs(cluster: &Cluster, topic: &str, victim: usize) -> Result<()> {
    let other = cluster.ids().find(|id| *id != victim).context("another broker")?;
    for partition in 0..PARTITIONS {
        let dir = format!("{topic}-{partition}");
        wait::until(format!("the same log in {dir}"), Duration::from_secs(20), || {
            let new = log(&cluster.data_dir(victim).join(&dir))?;
            let old = log(&cluster.data_dir(other).join(&dir))?;
            ensure!(!new.is_empty(), "broker {victim} has nothing");
            ensure!(new == old, "{victim} has {} bytes, {other} {}", new.len(), old.len());
            Ok(Some(()))
        })?;
    }
    Ok(())
}

/// The records of a partition directory, over all segments.
fn log(dir: &Path) -> Result<Vec<u8>> {
    let mut segments = Vec::new();
    for file in fs::read_dir(dir)? {
        let path = file?.path();
        if path.extension().is_some_and(|extension| extension == "log") {
            segments.push(path);
        }
    }
    segments.sort();
    let bytes = segments.iter().map(fs::read).collect::<Result<Vec<_>, _>>()?;
    Ok(bytes.concat())
}
