//! Every log of every container, from its first line, into a file of its own: pods of a scenario
//! are deleted and replaced, and with them goes what `kubectl logs` could show afterwards.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use futures::{AsyncBufReadExt, StreamExt, TryStreamExt};
use k8s_openapi::api::core::v1::{ContainerStatus, Pod};
use kube::api::LogParams;
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client, ResourceExt};
use tokio::task::{AbortHandle, JoinSet};

/// Longest wait for streams to hand over what was written before.
const SETTLE: Duration = Duration::from_secs(2);
/// As many findings as one error lists.
const FINDINGS_MAX: usize = 20;

/// One start of one container.
type Start = (String, String, i32);

/// Follows the containers of some namespaces until it is stopped.
pub(crate) struct Follower {
    tasks: Vec<AbortHandle>,
}

impl Follower {
    pub(crate) fn start(client: &Client, dir: &Path, namespaces: &[&str]) -> Self {
        let tasks = namespaces.iter().map(|namespace| {
            let pods = Api::namespaced(client.clone(), namespace);
            tokio::spawn(follow(pods, dir.to_owned())).abort_handle()
        });
        Self { tasks: tasks.collect() }
    }

    /// Streams have no mark for "up to now", so the last lines get this long to arrive.
    pub(crate) async fn settle(&self) {
        tokio::time::sleep(SETTLE).await;
    }

    pub(crate) fn stop(self) {
        self.tasks.iter().for_each(AbortHandle::abort);
    }
}

async fn follow(pods: Api<Pod>, dir: PathBuf) {
    let known = Arc::new(Mutex::new(BTreeSet::new()));
    let mut streams = JoinSet::new();
    let watch = watcher(pods.clone(), watcher::Config::default());
    let mut changes = watch.default_backoff().applied_objects().boxed();
    while let Some(change) = changes.next().await {
        let Ok(pod) = change else { continue };
        for container in statuses(&pod) {
            for (start, previous) in starts(&pod, container) {
                let first = known.lock().unwrap_or_else(PoisonError::into_inner).insert(start);
                if first {
                    let file = file_name(&pod, container, previous);
                    let (pods, name, path) = (pods.clone(), pod.name_any(), dir.join(file));
                    let container = container.name.clone();
                    streams.spawn(async move {
                        // A container that is gone before it is read has nothing to say.
                        let _ = copy(&pods, &name, &container, previous, &path).await;
                    });
                }
            }
        }
    }
}

fn statuses(pod: &Pod) -> Vec<&ContainerStatus> {
    let Some(status) = &pod.status else { return Vec::new() };
    let init = status.init_container_statuses.iter().flatten();
    init.chain(status.container_statuses.iter().flatten()).collect()
}

/// What can be read of a container now: its present start, and the one before.
fn starts(pod: &Pod, container: &ContainerStatus) -> Vec<(Start, bool)> {
    let uid = pod.uid().unwrap_or_default();
    let state = container.state.as_ref();
    let has_log = state.is_some_and(|s| s.running.is_some() || s.terminated.is_some());
    let count = container.restart_count;
    let mut found = Vec::new();
    if count > 0 {
        found.push(((uid.clone(), container.name.clone(), count - 1), true));
    }
    if has_log {
        found.push(((uid, container.name.clone(), count), false));
    }
    found
}

fn file_name(pod: &Pod, container: &ContainerStatus, previous: bool) -> String {
    let uid = pod.uid().unwrap_or_default();
    let count = container.restart_count - i32::from(previous);
    let short = uid.get(..8).unwrap_or_default();
    format!("{}.{}.{short}.{count}.log", pod.name_any(), container.name)
}

async fn copy(
    pods: &Api<Pod>,
    pod: &str,
    container: &str,
    previous: bool,
    path: &Path,
) -> Result<()> {
    let container = Some(container.to_owned());
    let parameters = LogParams { container, previous, follow: !previous, ..LogParams::default() };
    let mut lines = pods.log_stream(pod, &parameters).await?.lines();
    let mut file = File::create(path)?;
    while let Some(line) = lines.try_next().await? {
        writeln!(file, "{line}")?;
    }
    Ok(())
}

/// Fails with the errors and panics in all logs of a directory, the load's aside.
pub(crate) fn scan(dir: &Path, allowed: &[String]) -> Result<()> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).context("logs")? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if !name.ends_with(".log") || name.starts_with("load-") {
            continue;
        }
        let text = String::from_utf8_lossy(&fs::read(&path)?).into_owned();
        let bad = text.lines().filter(|line| is_error(line));
        let bad = bad.filter(|line| !allowed.iter().any(|part| line.contains(part.as_str())));
        found.extend(bad.map(|line| format!("{name}: {line}")));
    }
    let count = found.len();
    found.truncate(FINDINGS_MAX);
    ensure!(found.is_empty(), "{count} errors in logs:\n{}", found.join("\n"));
    Ok(())
}

fn is_error(line: &str) -> bool {
    line.contains("panicked at") || line.contains("\"level\":\"ERROR\"") || line.contains(" ERROR ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_told_from_other_lines() {
        assert!(is_error("2026-01-01T00:00:00Z ERROR broker::log: it is full"));
        assert!(is_error(r#"{"timestamp":"…","level":"ERROR","fields":{"message":"x"}}"#));
        assert!(is_error("thread 'main' panicked at src/main.rs:1:1:"));
        assert!(!is_error("2026-01-01T00:00:00Z  WARN broker::log: NO_ERROR"));
    }
}
