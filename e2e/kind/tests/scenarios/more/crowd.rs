//! Topics by the hundred: made, changed and waited for together. A Topic of a crowd is named after
//! its cluster and its number.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use crd::{Topic, find_condition, kind};
use futures::{StreamExt, TryStreamExt, stream};
use kind_e2e::{Scenario, yaml};
use kube::ResourceExt;
use kube::api::{DeleteParams, ListParams, PostParams};
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{Config, watcher};

/// Requests to the API server at a time.
const AT_A_TIME: usize = 32;
/// For each thousand, until they are ready: three times what the README has for the last of ten.
const MADE: Duration = Duration::from_millis(3 * 7_500);
/// For each thousand, until they are gone.
const GONE: Duration = Duration::from_secs(300);

/// How long so many Topics may take.
fn limit(each_thousand: Duration, count: usize) -> Duration {
    each_thousand.saturating_mul(u32::try_from(count.div_ceil(1_000)).unwrap_or(u32::MAX))
}

pub fn name(cluster: &str, number: usize) -> String {
    format!("{cluster}-{number:04}")
}

/// Makes Topics of one partition, each copied so often, and returns how long that took.
pub async fn create(s: &Scenario, cluster: &str, count: usize, copies: i32) -> Result<Duration> {
    each(s, count, async |s, number| {
        let topic = topic(cluster, number, copies)?;
        s.api().create(&PostParams::default(), &topic).await?;
        Ok(())
    })
    .await
}

fn topic(cluster: &str, number: usize, copies: i32) -> Result<Topic> {
    let text = yaml::topic(&name(cluster, number), cluster, 1, copies);
    let text = text + "  config:\n    retention.ms: 3600000\n";
    serde_yaml::from_str(&text).context("a Topic")
}

/// Acts for each number below the count, some of them at a time.
pub async fn each(
    s: &Scenario,
    count: usize,
    act: impl AsyncFn(&Scenario, usize) -> Result<()>,
) -> Result<Duration> {
    let begun = Instant::now();
    stream::iter(0..count)
        .map(|number| act(s, number))
        .buffer_unordered(AT_A_TIME)
        .try_collect::<()>()
        .await?;
    Ok(begun.elapsed())
}

/// Until this many Topics of the namespace are ready in the version that is there now.
pub async fn all_ready(s: &Scenario, count: usize) -> Result<()> {
    let (mut ready, mut last) = (BTreeSet::new(), None);
    let topics = watcher(s.api::<Topic>(), Config::default()).default_backoff().applied_objects();
    let mut topics = std::pin::pin!(topics);
    let watching = async {
        while ready.len() < count {
            match topics.next().await.context("the watch ended")? {
                Ok(topic) if is_ready(&topic) => ready.insert(topic.name_any()),
                Ok(topic) => ready.remove(&topic.name_any()),
                // A watch that broke begins again by itself, with all that is there.
                Err(error) => last.replace(error).is_some(),
            };
        }
        Ok::<_, anyhow::Error>(())
    };
    let result = tokio::time::timeout(limit(MADE, count), watching).await;
    let seen = format!("{} of {count} ready; last error of the watch: {last:?}", ready.len());
    result.context(seen)?
}

/// Deletes all Topics of the namespace, until they are gone. `kubectl delete` asks for each of them
/// by itself, and waits between the requests.
pub async fn remove(s: &Scenario, count: usize) -> Result<()> {
    let topics = s.api::<Topic>();
    topics.delete_collection(&DeleteParams::default(), &ListParams::default()).await?;
    let gone =
        async || Ok(topics.list_metadata(&ListParams::default().limit(1)).await?.items.is_empty());
    s.eventually("all topics gone", limit(GONE, count), gone).await
}

fn is_ready(topic: &Topic) -> bool {
    let Some(status) = &topic.status else { return false };
    let ready = find_condition(&status.conditions, kind::READY);
    status.observed_generation == topic.metadata.generation
        && ready.is_some_and(|ready| ready.status == "True")
}
