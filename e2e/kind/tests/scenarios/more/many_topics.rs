//! A thousand Topics on one cluster: how long from the first to all of them ready, and what the
//! operator's memory comes to.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use crd::{Topic, find_condition, kind};
use futures::{StreamExt, TryStreamExt, stream};
use kind_e2e::{CREATE, Scenario, scenario, yaml};
use kube::ResourceExt;
use kube::api::{DeleteParams, ListParams, PatchParams, PostParams};
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{Config, watcher};

const TOPICS: usize = 1_000;
/// Requests to the API server at a time.
const AT_A_TIME: usize = 32;
/// Far more than it takes, on a machine of two cores that runs all of Kubernetes besides.
const LIMIT: Duration = Duration::from_secs(300);

fn topic(number: usize) -> Result<Topic> {
    let text = yaml::topic(&format!("many-{number:04}"), "castle", 1, 3);
    let text = text + "  config:\n    retention.ms: 3600000\n";
    serde_yaml::from_str(&text).context("a Topic")
}

fn is_ready(topic: &Topic) -> bool {
    let Some(status) = &topic.status else { return false };
    let ready = find_condition(&status.conditions, kind::READY);
    status.observed_generation == topic.metadata.generation
        && ready.is_some_and(|ready| ready.status == "True")
}

/// Until this many are ready in the version that is there now.
async fn all_ready(s: &Scenario) -> Result<()> {
    let mut ready = BTreeSet::new();
    let topics = watcher(s.api::<Topic>(), Config::default()).default_backoff().applied_objects();
    let mut topics = std::pin::pin!(topics);
    let watching = async {
        while ready.len() < TOPICS {
            let topic = topics.try_next().await?.context("the watch ended")?;
            match is_ready(&topic) {
                true => ready.insert(topic.name_any()),
                false => ready.remove(&topic.name_any()),
            };
        }
        Ok::<_, anyhow::Error>(())
    };
    let result = tokio::time::timeout(LIMIT, watching).await;
    result.with_context(|| format!("{} of {TOPICS} ready", ready.len()))?
}

async fn each(s: &Scenario, act: impl AsyncFn(&Scenario, usize) -> Result<()>) -> Result<Duration> {
    let begun = Instant::now();
    stream::iter(0..TOPICS)
        .map(|number| act(s, number))
        .buffer_unordered(AT_A_TIME)
        .try_collect::<()>()
        .await?;
    Ok(begun.elapsed())
}

#[test]
#[ignore = "needs kind: cargo x kind test"]
fn many_topics() {
    scenario("many-topics", async |s| {
        s.install_operator(&[]).await?;
        s.apply(&yaml::cluster("castle", 3))?;
        s.cluster_ready("castle", 3).await?;
        let before = s.operator_metric("process_resident_memory_bytes").await?;

        let begun = Instant::now();
        let ready = all_ready(s);
        let create = each(s, async |s, number| {
            s.api().create(&PostParams::default(), &topic(number)?).await?;
            Ok(())
        });
        let (applied, ready) = tokio::join!(create, ready);
        let applied = applied?;
        ready?;
        let after = s.operator_metric("process_resident_memory_bytes").await?;
        s.say(format!(
            "{TOPICS} topics applied in {applied:.1?}, all ready after {:.1?}; operator memory \
             {:.1} MiB before, {:.1} MiB after",
            begun.elapsed(),
            before / 1048576.0,
            after / 1048576.0
        ));

        let begun = Instant::now();
        let params = PatchParams::default();
        let patch = serde_json::json!({ "spec": { "config": { "retention.ms": 7200000 } } });
        each(s, async |s, number| {
            let name = format!("many-{number:04}");
            s.api::<Topic>().patch(&name, &params, &kube::api::Patch::Merge(&patch)).await?;
            Ok(())
        })
        .await?;
        all_ready(s).await?;
        s.say(format!("all changed and ready after {:.1?}", begun.elapsed()));

        s.assert_quiet(Duration::from_secs(60)).await?;
        s.say("a minute without a write");

        let topics = s.api::<Topic>();
        topics.delete_collection(&DeleteParams::default(), &ListParams::default()).await?;
        let gone = async || {
            Ok(topics.list_metadata(&ListParams::default().limit(1)).await?.items.is_empty())
        };
        s.eventually("all topics gone", CREATE, gone).await?;
        ensure!(s.operator_metric("barnabas_operator_topics_not_ready").await? == 0.0);
        Ok(())
    });
}
