//! Every broker dies at once, as after a power cut, and all start again: no broker may act on what
//! its disk knew of leadership before the controller knows its new run, or replicas would cut
//! committed records off.

use std::time::Duration;

use e2e::load::Load;
use e2e::{ClusterConfig, wait, with_cluster};

const TOPIC: &str = "power";
const PARTITIONS: i32 = 6;
const ROUNDS: usize = 3;

#[test]
fn nothing_acknowledged_is_lost_when_all_brokers_are_killed_at_once() {
    with_cluster(ClusterConfig::new(3), |cluster| {
        let admin = cluster.admin()?;
        admin.create_topic(TOPIC, PARTITIONS, 3, &[("min.insync.replicas", "2")])?;
        let mut load = Load::start(&cluster.bootstrap(), TOPIC, PARTITIONS, 200, cluster.dir())?;
        for _ in 0..ROUNDS {
            let before = std::fs::metadata(cluster.dir().join("acks"))?.len();
            wait::until("more acknowledged records", Duration::from_secs(30), || {
                let now = std::fs::metadata(cluster.dir().join("acks"))?.len();
                Ok((now > before + 20_000).then_some(()))
            })?;
            let ids: Vec<usize> = cluster.ids().collect();
            for id in &ids {
                cluster.kill(*id)?;
            }
            for id in &ids {
                cluster.start_broker(*id)?;
            }
            for id in &ids {
                cluster.wait_broker(*id)?;
            }
            cluster.wait_in_sync()?;
        }
        load.finish()?;
        println!("{}", load.verify()?);
        Ok(())
    });
}
