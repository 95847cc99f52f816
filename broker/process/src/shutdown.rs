//! The signals of the process, and the one signal that every long-lived task watches. It has two
//! stages: first the broker hands its leaderships over while it still serves, then connections
//! close and background work ends.

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;

/// SIGTERM and SIGINT, watched from before the start on: as the first process of a container, one
/// that does not watch is not ended by them.
#[derive(Debug)]
pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    /// Needs a runtime.
    pub fn watch() -> std::io::Result<Signals> {
        let terminate = signal(SignalKind::terminate())?;
        Ok(Signals { terminate, interrupt: signal(SignalKind::interrupt())? })
    }

    /// Resolves when the process is to end.
    pub async fn received(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Stage {
    Running,
    /// Controlled shutdown: leaderships move away, clients are still served.
    HandingOver,
    /// Connections close, tasks end.
    Closing,
}

/// Handle that moves the stages on and waits for them.
#[derive(Clone, Debug)]
pub struct Shutdown(watch::Sender<Stage>);

impl Shutdown {
    pub fn new() -> Shutdown {
        Shutdown(watch::channel(Stage::Running).0)
    }

    /// Begins the controlled shutdown.
    pub fn start(&self) {
        self.advance(Stage::HandingOver);
    }

    /// Ends connections and tasks.
    pub fn close_connections(&self) {
        self.advance(Stage::Closing);
    }

    fn advance(&self, stage: Stage) {
        self.0.send_if_modified(|current| {
            let moves = *current < stage;
            *current = stage.max(*current);
            moves
        });
    }

    pub fn has_started(&self) -> bool {
        *self.0.borrow() >= Stage::HandingOver
    }

    pub fn is_closing(&self) -> bool {
        *self.0.borrow() >= Stage::Closing
    }

    /// Resolves when the shutdown has started.
    pub async fn started(&self) {
        self.reached(Stage::HandingOver).await;
    }

    /// Resolves when connections must close and tasks must end.
    pub async fn connections_closing(&self) {
        self.reached(Stage::Closing).await;
    }

    async fn reached(&self, stage: Stage) {
        let mut receiver = self.0.subscribe();
        // The sender lives in self: the channel cannot close while this waits.
        let _ = receiver.wait_for(|current| *current >= stage).await;
    }
}

impl Default for Shutdown {
    fn default() -> Self {
        Shutdown::new()
    }
}
