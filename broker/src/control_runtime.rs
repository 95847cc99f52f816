//! The control plane's own threads: sessions, the active controller and probes. Nothing that waits
//! for a disk, a partition's lock or a long computation runs on them, so that what other brokers
//! and Kubernetes take for a sign of life does not depend on the data plane.

use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinSet;

/// One for whatever computes, such as a controller that fences a large broker, and one more.
const THREADS: usize = 2;

pub struct Control(Option<Runtime>);

impl Control {
    pub fn start() -> std::io::Result<Control> {
        let runtime = Builder::new_multi_thread()
            .worker_threads(THREADS)
            .thread_name("control")
            .on_thread_start(quorum::raise_priority)
            .enable_all()
            .build()?;
        Ok(Control(Some(runtime)))
    }

    /// Runs the task on these threads, as one of `tasks`.
    pub fn run(&self, tasks: &mut JoinSet<()>, task: impl Future<Output = ()> + Send + 'static) {
        if let Some(runtime) = &self.0 {
            tasks.spawn_on(task, runtime.handle());
        }
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        // Its tasks have ended or are aborted, and whoever drops it may be a task, which must not
        // wait.
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}
