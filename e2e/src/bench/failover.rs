//! How long acknowledged writes stop when a leader is killed, for both targets alike.

use std::time::Duration;

use anyhow::{Context, Result};

use super::Plan;
use crate::config::Target;
use crate::load::{Load, longest_gap, now_ns};
use crate::{Cluster, wait};

const TOPIC: &str = "gap";

/// The longest gap of each kill, in milliseconds.
pub fn gaps(plan: &Plan, cluster: &mut Cluster) -> Result<Vec<f64>> {
    let admin = cluster.admin()?;
    admin.create_topic(TOPIC, 3, 3, &[("min.insync.replicas", "2")])?;
    let dir = tempfile::tempdir()?;
    let mut load = Load::start(&cluster.bootstrap(), TOPIC, 3, 100, dir.path())?;
    let mut windows = Vec::new();
    for _ in 0..plan.kills {
        let partitions = admin.wait_in_sync(&[TOPIC], Duration::from_secs(60))?;
        let leader = partitions.values().next().context("no partition")?.leader;
        // A second of undisturbed writes belongs to no kill.
        std::thread::sleep(Duration::from_secs(1));
        let victim = usize::try_from(leader)?;
        let at = now_ns()?;
        cluster.kill(victim)?;
        let others = cluster.admin_without(victim)?;
        wait::until("new leaders", Duration::from_secs(60), || {
            let partitions = others.partitions(&[TOPIC])?;
            Ok(partitions.values().all(|p| p.leader >= 0 && p.leader != leader).then_some(()))
        })?;
        let rest = if cluster.config().target == Target::Apache { 5 } else { 2 };
        std::thread::sleep(Duration::from_secs(rest));
        windows.push((at, now_ns()?));
        cluster.start_broker(victim)?;
        cluster.wait_broker(victim)?;
    }
    let acks = load.finish()?;
    load.verify()?;
    let ms = |(from, to): &(u64, u64)| longest_gap(&acks, *from, *to).as_secs_f64() * 1e3;
    Ok(windows.iter().map(ms).collect())
}
