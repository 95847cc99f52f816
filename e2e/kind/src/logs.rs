//! Every log of every container, from its first line, into a file of its own: pods of a scenario
//! are deleted and replaced, and with them goes what `kubectl logs` could show afterwards.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
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
/// Between two attempts to read a log that broke off.
const AGAIN: Duration = Duration::from_secs(1);
/// As many findings as one error lists.
pub(crate) const FINDINGS_MAX: usize = 20;

/// One start of one container.
type Start = (String, String, i32);

/// Logs that broke off and were not yet taken up again, by their files.
type Broken = Arc<Mutex<BTreeSet<PathBuf>>>;

/// Follows the containers of some namespaces until it is stopped.
pub(crate) struct Follower {
    tasks: Vec<AbortHandle>,
    broken: Broken,
}

impl Follower {
    pub(crate) fn start(client: &Client, dir: &Path, namespaces: &[&str]) -> Self {
        let broken = Broken::default();
        let tasks = namespaces.iter().map(|namespace| {
            let pods = Api::namespaced(client.clone(), namespace);
            tokio::spawn(follow(pods, dir.to_owned(), broken.clone())).abort_handle()
        });
        Self { tasks: tasks.collect(), broken }
    }

    /// Streams have no mark for "up to now", so the last lines get this long to arrive.
    pub(crate) async fn settle(&self) {
        tokio::time::sleep(SETTLE).await;
        for path in &*self.broken.lock().unwrap_or_else(PoisonError::into_inner) {
            println!("{} broke off: its rest is not searched for errors", path.display());
        }
    }

    pub(crate) fn stop(self) {
        self.tasks.iter().for_each(AbortHandle::abort);
    }
}

async fn follow(pods: Api<Pod>, dir: PathBuf, broken: Broken) {
    let mut known = BTreeSet::new();
    let mut streams = JoinSet::new();
    let watch = watcher(pods.clone(), watcher::Config::default());
    let mut changes = watch.default_backoff().applied_objects().boxed();
    while let Some(change) = changes.next().await {
        let Ok(pod) = change else { continue };
        for container in statuses(&pod) {
            for (start, previous) in starts(&pod, container) {
                if known.insert(start.clone()) {
                    let path = dir.join(file_name(&pod, container, previous));
                    let (pods, name, broken) = (pods.clone(), pod.name_any(), broken.clone());
                    let source = Source { pods, name, start, path, broken };
                    streams.spawn(source.copy_all(previous));
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

/// The log of one start of one container.
struct Source {
    pods: Api<Pod>,
    name: String,
    start: Start,
    path: PathBuf,
    broken: Broken,
}

impl Source {
    /// Copies to the end of the log, whose stream ends sooner with whoever hands it on: the node's
    /// kubelet or the API server.
    async fn copy_all(self, mut previous: bool) {
        let mut lines = 0;
        loop {
            let ended = self.copy(previous, &mut lines).await;
            if let Err(error) = &ended {
                if lines == 0 && is_gone(error) {
                    return;
                }
                if self.broken().insert(self.path.clone()) {
                    println!("{} breaks off: {error:#}", self.path.display());
                }
            }
            // For what is broken to be mended, and for the pod's status to follow.
            tokio::time::sleep(AGAIN).await;
            let now = match self.pods.get_opt(&self.name).await {
                Ok(pod) => readable(pod.as_ref(), &self.start),
                Err(_) => continue,
            };
            let Some(now) = now else { return };
            if ended.is_ok() && (previous || now != Readable::Running) {
                return;
            }
            previous = now == Readable::Previous;
        }
    }

    /// Copies what comes after as many lines of the log.
    async fn copy(&self, previous: bool, lines: &mut usize) -> Result<()> {
        let container = Some(self.start.1.clone());
        let parameters =
            LogParams { container, previous, follow: !previous, ..LogParams::default() };
        let log = self.pods.log_stream(&self.name, &parameters).await?;
        self.broken().remove(&self.path);
        let mut file = File::options().create(true).append(true).open(&self.path)?;
        let mut more = log.lines().skip(*lines);
        while let Some(line) = more.try_next().await? {
            writeln!(file, "{line}")?;
            *lines += 1;
        }
        Ok(())
    }

    fn broken(&self) -> MutexGuard<'_, BTreeSet<PathBuf>> {
        self.broken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A container that is gone before it is read has nothing to say.
fn is_gone(error: &anyhow::Error) -> bool {
    let error = error.downcast_ref::<kube::Error>();
    matches!(error, Some(kube::Error::Api(status)) if [400, 404].contains(&status.code))
}

/// How the log of a start of a container can be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Readable {
    Running,
    Ended,
    Previous,
}

/// Of the pod as it is now: one of the same name may have taken its place.
fn readable(pod: Option<&Pod>, (uid, container, count): &Start) -> Option<Readable> {
    let pod = pod.filter(|pod| pod.uid().as_ref() == Some(uid))?;
    let status = statuses(pod).into_iter().find(|status| status.name == *container)?;
    let runs = status.state.as_ref().is_some_and(|state| state.running.is_some());
    match status.restart_count - count {
        0 if runs => Some(Readable::Running),
        0 => Some(Readable::Ended),
        1 => Some(Readable::Previous),
        _ => None,
    }
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
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_log_is_taken_up_again_only_from_the_start_that_wrote_it() {
        let pod = |uid: &str, count: i32, state: &str| -> Pod {
            serde_json::from_value(serde_json::json!({
                "metadata": {"name": "a", "uid": uid},
                "status": {"containerStatuses": [{
                    "name": "broker", "image": "i", "imageID": "i", "ready": true,
                    "restartCount": count, "state": {state: {}},
                }]},
            }))
            .unwrap()
        };
        let start = ("u".to_owned(), "broker".to_owned(), 1);
        let of = |pod: Pod| readable(Some(&pod), &start);
        assert_eq!(of(pod("u", 1, "running")), Some(Readable::Running));
        assert_eq!(of(pod("u", 1, "waiting")), Some(Readable::Ended));
        assert_eq!(of(pod("u", 2, "running")), Some(Readable::Previous));
        assert_eq!(of(pod("u", 3, "running")), None);
        assert_eq!(of(pod("v", 1, "running")), None);
        assert_eq!(readable(None, &start), None);
    }

    #[test]
    fn errors_are_told_from_other_lines() {
        assert!(is_error("2026-01-01T00:00:00Z ERROR broker::log: it is full"));
        assert!(is_error(r#"{"timestamp":"…","level":"ERROR","fields":{"message":"x"}}"#));
        assert!(is_error("thread 'main' panicked at src/main.rs:1:1:"));
        assert!(!is_error("2026-01-01T00:00:00Z  WARN broker::log: NO_ERROR"));
    }
}
