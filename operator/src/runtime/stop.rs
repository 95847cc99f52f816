//! Tells tasks that the process is to end.

use std::sync::Arc;

use tokio::sync::watch;

/// Copies share one flag; once stopped, always stopped.
#[derive(Clone, Debug)]
pub struct Stop {
    sender: Arc<watch::Sender<bool>>,
}

impl Default for Stop {
    fn default() -> Stop {
        Stop { sender: Arc::new(watch::Sender::new(false)) }
    }
}

impl Stop {
    pub fn stop(&self) {
        self.sender.send_replace(true);
    }

    pub fn is_stopped(&self) -> bool {
        *self.sender.borrow()
    }

    /// Returns once stopped.
    pub fn stopped(&self) -> impl Future<Output = ()> + Send + Sync + 'static {
        let mut receiver = self.sender.subscribe();
        async move {
            // The sender lives as long as any copy; its end is a stop too.
            let _ = receiver.wait_for(|stopped| *stopped).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_stop_is_seen_by_those_who_wait_and_those_who_ask_later() {
        let stop = Stop::default();
        let waiting = tokio::spawn(stop.clone().stopped());
        assert!(!stop.is_stopped());
        stop.stop();
        waiting.await.expect("the waiter ends");
        stop.stopped().await;
        assert!(stop.is_stopped());
    }
}
