//! A thousand Topics on one cluster: how long from the first to all of them ready, and what the
//! operator's memory comes to. `BARNABAS_KIND_TOPICS` asks for another number, such as 10000.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use crd::Topic;
use kind_e2e::{Scenario, scenario, yaml};
use kube::api::{Patch, PatchParams};

use super::crowd;

const TOPICS: usize = 1_000;

fn count() -> Result<usize> {
    match std::env::var("BARNABAS_KIND_TOPICS") {
        Ok(text) => text.parse().with_context(|| format!("BARNABAS_KIND_TOPICS={text}")),
        Err(_) => Ok(TOPICS),
    }
}

#[test]
#[ignore = "needs kind: cargo x kind test"]
fn many_topics() {
    scenario("many-topics", async |s| {
        let count = count()?;
        s.install_operator(&[]).await?;
        s.apply(&yaml::cluster("castle", 3))?;
        s.cluster_ready("castle", 3).await?;
        made(s, count).await?;
        changed(s, count).await?;
        s.assert_quiet(Duration::from_secs(60)).await?;
        s.say("a minute without a write");
        deleted(s, count).await
    });
}

async fn made(s: &Scenario, count: usize) -> Result<()> {
    let before = s.operator_metric("process_resident_memory_bytes").await?;
    let begun = Instant::now();
    let create = crowd::create(s, "castle", count, 3);
    let (applied, ()) = tokio::try_join!(create, crowd::all_ready(s, count))?;
    let took = begun.elapsed();
    let after = s.operator_metric("process_resident_memory_bytes").await?;
    s.say(format!(
        "{count} topics applied in {applied:.1?}, all ready after {took:.1?}; operator memory \
         {:.1} MiB before, {:.1} MiB after",
        before / 1048576.0,
        after / 1048576.0
    ));
    Ok(())
}

async fn changed(s: &Scenario, count: usize) -> Result<()> {
    let begun = Instant::now();
    let params = PatchParams::default();
    let patch = serde_json::json!({ "spec": { "config": { "retention.ms": 7200000 } } });
    crowd::each(s, count, async |s, number| {
        let name = crowd::name("castle", number);
        s.api::<Topic>().patch(&name, &params, &Patch::Merge(&patch)).await?;
        Ok(())
    })
    .await?;
    crowd::all_ready(s, count).await?;
    s.say(format!("all changed and ready after {:.1?}", begun.elapsed()));
    Ok(())
}

async fn deleted(s: &Scenario, count: usize) -> Result<()> {
    crowd::remove(s, count).await?;
    let failing = s.operator_metric("barnabas_operator_topics_not_ready").await?;
    ensure!(failing == 0.0, "{failing} topics that are gone count as not ready");
    Ok(())
}
