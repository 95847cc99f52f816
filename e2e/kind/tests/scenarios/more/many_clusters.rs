//! Ten clusters with a hundred Topics each, looked after by one operator: how long until all are
//! ready, and the most memory that it took.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use kind_e2e::{Scenario, scenario, yaml};

use super::crowd;

const CLUSTERS: usize = 10;
/// Of each cluster.
const TOPICS: usize = 100;
/// Three times what the README has.
const CLUSTERS_MAX: Duration = Duration::from_secs(3 * 20);
/// Half of what the chart lets the operator have. One cluster with a thousand Topics takes a third
/// of this.
const MEMORY_MAX_MIB: f64 = 64.0;

#[test]
#[ignore = "needs kind: cargo x kind test"]
fn many_clusters() {
    scenario("many-clusters", async |s| {
        s.install_operator(&[]).await?;
        let names: Vec<String> = (0..CLUSTERS).map(|number| format!("castle-{number}")).collect();
        let mut memory = vec![memory_mib(s).await?];
        clusters(s, &names).await?;
        memory.push(memory_mib(s).await?);
        topics(s, &names).await?;
        memory.push(memory_mib(s).await?);
        s.assert_quiet(Duration::from_secs(60)).await?;
        memory.push(memory_mib(s).await?);

        let most = memory.iter().copied().fold(0.0, f64::max);
        s.say(format!(
            "operator memory {most:.1} MiB at most; without clusters, with them, with topics, a \
             minute later: {memory:.1?}"
        ));
        ensure!(most > 0.0 && most <= MEMORY_MAX_MIB, "{most:.1} MiB of {MEMORY_MAX_MIB}");
        let restarts = s.operator_restarts().await?;
        ensure!(restarts == 0, "the operator was started again {restarts} times");
        crowd::remove(s, CLUSTERS * TOPICS).await
    });
}

async fn memory_mib(s: &Scenario) -> Result<f64> {
    Ok(s.operator_metric("process_resident_memory_bytes").await? / 1048576.0)
}

async fn clusters(s: &Scenario, names: &[String]) -> Result<()> {
    let begun = Instant::now();
    let all: Vec<String> = names.iter().map(|name| yaml::single(name)).collect();
    let all: Vec<&str> = all.iter().map(String::as_str).collect();
    s.apply(&yaml::documents(&all))?;
    for name in names {
        s.cluster_ready(name, 1).await?;
    }
    let took = begun.elapsed();
    s.say(format!("{CLUSTERS} clusters ready after {took:.1?}"));
    ensure!(took <= CLUSTERS_MAX, "{CLUSTERS} clusters took {took:.1?}");
    Ok(())
}

async fn topics(s: &Scenario, names: &[String]) -> Result<()> {
    let (begun, all) = (Instant::now(), names.len() * TOPICS);
    let create = async {
        for name in names {
            crowd::create(s, name, TOPICS, 1).await?;
        }
        Ok::<_, anyhow::Error>(begun.elapsed())
    };
    let (applied, ()) = tokio::try_join!(create, crowd::all_ready(s, all))?;
    let took = begun.elapsed();
    s.say(format!(
        "{all} topics ready {took:.1?} after the first was applied, {:.1?} after the last",
        took.saturating_sub(applied)
    ));
    Ok(())
}
