//! Tasks, and work that may wait for the disk, on the runtime of the process or in a simulation.

use std::fmt::Display;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio::task::JoinSet;

use crate::simulation;

/// A task did not reach its end: it panicked or was aborted.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Failed(String);

impl Display for Failed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// What tasks run on.
#[derive(Clone, Debug)]
pub struct Runtime(On);

#[derive(Clone, Debug)]
enum On {
    Tokio(Handle),
    /// In this process of a simulation.
    Simulated(usize),
}

impl Runtime {
    /// The one that the caller runs on. Needs one.
    pub fn current() -> Runtime {
        Runtime(match simulation::current() {
            Some(simulation) => On::Simulated(simulation.place()),
            None => On::Tokio(Handle::current()),
        })
    }
}

/// Runs work that may wait for the disk beside the tasks. `None` only at the end of the process.
pub async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    if simulation::current().is_none() {
        return tokio::task::spawn_blocking(work).await.ok();
    }
    let mut tasks = Tasks::new();
    tasks.spawn_blocking(work);
    tasks.join_next().await?.ok()
}

/// Lets others have their turn if this task has had more than its share of one. What was true
/// before need not be true afterwards: in a simulation, the thread is descheduled here at times.
pub async fn yield_if_long() {
    match simulation::current().map(|simulation| simulation.descheduled_ms()) {
        None => tokio::task::consume_budget().await,
        Some(Some(ms)) => crate::time::sleep(Duration::from_millis(ms)).await,
        Some(None) => {}
    }
}

/// Tasks that end with their owner.
#[derive(Debug)]
pub struct Tasks<T>(Kind<T>);

#[derive(Debug)]
enum Kind<T> {
    Tokio(JoinSet<T>),
    Simulated(Vec<Simulated<T>>),
}

#[derive(Debug)]
struct Simulated<T> {
    task: u64,
    result: oneshot::Receiver<T>,
}

impl<T> Drop for Simulated<T> {
    fn drop(&mut self) {
        if let Some(simulation) = simulation::current() {
            simulation.abort(self.task);
        }
    }
}

impl<T: Send + 'static> Tasks<T> {
    pub fn new() -> Tasks<T> {
        Tasks(match simulation::current() {
            Some(_) => Kind::Simulated(Vec::new()),
            None => Kind::Tokio(JoinSet::new()),
        })
    }

    pub fn spawn(&mut self, task: impl Future<Output = T> + Send + 'static) {
        self.spawn_on(task, &Runtime::current());
    }

    pub fn spawn_on(&mut self, task: impl Future<Output = T> + Send + 'static, on: &Runtime) {
        match (&mut self.0, &on.0) {
            (Kind::Tokio(tasks), On::Tokio(handle)) => {
                tasks.spawn_on(task, handle);
            }
            (Kind::Simulated(tasks), On::Simulated(place)) => {
                let Some(simulation) = simulation::current() else { return };
                let (done, result) = oneshot::channel();
                let task = Box::pin(async move {
                    // Nobody may wait for it.
                    let _ = done.send(task.await);
                });
                tasks.push(Simulated { task: simulation.spawn(*place, task), result });
            }
            _ => debug_assert!(false, "one of the two is simulated"),
        }
    }

    /// Work that may wait for the disk.
    pub fn spawn_blocking(&mut self, work: impl FnOnce() -> T + Send + 'static) {
        match &mut self.0 {
            Kind::Tokio(tasks) => {
                tasks.spawn_blocking(work);
            }
            Kind::Simulated(_) => self.spawn(async move { work() }),
        }
    }

    /// The result of one that has ended; `None` if none has.
    pub fn try_join_next(&mut self) -> Option<Result<T, Failed>> {
        match &mut self.0 {
            Kind::Tokio(tasks) => tasks.try_join_next().map(|done| done.map_err(failed)),
            Kind::Simulated(tasks) => {
                let mut cx = Context::from_waker(std::task::Waker::noop());
                match poll_any(tasks, &mut cx) {
                    Poll::Ready(done) => done,
                    Poll::Pending => None,
                }
            }
        }
    }

    /// Waits for one to end; `None` if there are none.
    pub async fn join_next(&mut self) -> Option<Result<T, Failed>> {
        match &mut self.0 {
            Kind::Tokio(tasks) => tasks.join_next().await.map(|done| done.map_err(failed)),
            Kind::Simulated(tasks) => poll_fn(|cx| poll_any(tasks, cx)).await,
        }
    }

    /// Aborts all and waits for their ends.
    pub async fn shutdown(&mut self) {
        match &mut self.0 {
            Kind::Tokio(tasks) => tasks.shutdown().await,
            Kind::Simulated(tasks) => tasks.clear(),
        }
    }
}

impl<T: Send + 'static> Default for Tasks<T> {
    fn default() -> Tasks<T> {
        Tasks::new()
    }
}

fn failed(error: tokio::task::JoinError) -> Failed {
    Failed(error.to_string())
}

fn poll_any<T>(
    tasks: &mut Vec<Simulated<T>>,
    cx: &mut Context<'_>,
) -> Poll<Option<Result<T, Failed>>> {
    for at in 0..tasks.len() {
        if let Poll::Ready(done) = Pin::new(&mut tasks[at].result).poll(cx) {
            tasks.remove(at);
            return Poll::Ready(Some(done.map_err(|_| Failed("aborted".to_owned()))));
        }
    }
    if tasks.is_empty() { Poll::Ready(None) } else { Poll::Pending }
}
