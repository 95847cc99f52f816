//! Follows the file of `--pod-config`: whenever it says something new, the broker registers again
//! with it. A file that is missing or empty says nothing, and one that is wrong is named in the log
//! and changes nothing.
//!
//! A file that is there and empty is about to be written: its pod has only just got a node. Then
//! the broker waits a while before it registers, so that no client is told a wrong address.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use crate::broker_session::Presence;
use config::{Config, Place};
use process::shutdown::Shutdown;

const LOOK_INTERVAL: Duration = Duration::from_secs(1);
/// For so long a broker waits for its place before it registers without: whoever writes the file
/// may be gone, and the configuration has what was last known.
pub const PATIENCE: Duration = Duration::from_secs(30);
/// A file beyond this is not one of ours.
const BYTES_MAX: u64 = 64 * 1024;

/// The file and what it said last.
pub struct PodConfig {
    path: PathBuf,
    config: Arc<Config>,
    last: Option<String>,
}

impl PodConfig {
    pub fn new(path: &Path, config: Arc<Config>) -> PodConfig {
        PodConfig { path: path.to_owned(), config, last: None }
    }

    /// What the file says, if that is new and right.
    pub fn look(&mut self) -> Option<Place> {
        let text = match read(&self.path) {
            Ok(text) => text.filter(|text| !text.trim().is_empty())?,
            // Noted once: what was read before is a text that no file holds.
            Err(problem) => format!("\0{problem}"),
        };
        if self.last.as_ref() == Some(&text) {
            return None;
        }
        let file = self.path.display();
        let place = match text.strip_prefix('\0') {
            Some(problem) => Err(problem.to_owned()),
            None => Place::parse(&self.config, &text).map_err(|error| error.to_string()),
        };
        self.last = Some(text);
        match place {
            Ok(place) => Some(place),
            Err(error) => {
                tracing::error!(%file, %error, "the pod's properties are wrong, nothing changes");
                None
            }
        }
    }

    /// The file is there and says nothing yet.
    pub fn is_awaited(&self) -> bool {
        matches!(read(&self.path), Ok(Some(text)) if text.trim().is_empty())
    }

    /// Publishes what the file says, as it is `told`, until the broker stops. `place` is known
    /// already; of a file that is awaited the first word is news whatever it says.
    pub async fn follow(
        mut self,
        mut place: Place,
        told: impl Fn(&Place) -> Presence,
        presence: watch::Sender<Presence>,
        shutdown: Shutdown,
    ) {
        let closing = shutdown.connections_closing();
        tokio::pin!(closing);
        let mut awaited = self.last.is_none();
        loop {
            tokio::select! {
                () = tokio::time::sleep(LOOK_INTERVAL) => {}
                () = &mut closing => return,
            }
            // The file is in memory (a projected volume), or as good as.
            let Some(new) = self.look().filter(|new| awaited || *new != place) else { continue };
            awaited = false;
            place = new;
            let names: Vec<String> = place.advertised.iter().map(ToString::to_string).collect();
            tracing::info!(rack = ?place.rack, advertised = names.join(","), "the pod's place");
            presence.send_replace(told(&place));
        }
    }
}

/// Waits until it is known where the broker is, or for as long as one waits for that.
pub async fn placed(
    presence: &mut watch::Receiver<Presence>,
    shutdown: &Shutdown,
    patience: Duration,
) {
    tracing::info!(?patience, "the pod's place is not known yet");
    tokio::select! {
        told = tokio::time::timeout(patience, presence.changed()) => {
            if told.is_err() {
                tracing::warn!("nobody says where this pod is: registering as configured");
            }
        }
        () = shutdown.started() => {}
    }
}

/// `None` for a file that is not there.
fn read(path: &Path) -> Result<Option<String>, String> {
    let length = match std::fs::metadata(path) {
        Ok(metadata) => metadata.len(),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error.to_string()),
    };
    if length > BYTES_MAX {
        return Err(format!("{length} bytes are too many"));
    }
    match std::fs::read_to_string(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        read => read.map(Some).map_err(|error| error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use config::parse_properties;

    #[test]
    fn only_news_that_are_right_are_told() {
        let text = "node.id=1\nlisteners=PLAINTEXT://:9092,CONTROLLER://:9093\n\
            controller.listener.names=CONTROLLER\n";
        let config = Config::from_properties(parse_properties(text).unwrap()).unwrap();
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("broker.properties");
        let mut pod = PodConfig::new(&path, Arc::new(config));
        let mut rack_of = |text: &str| {
            std::fs::write(&path, text).unwrap();
            pod.look().map(|place| place.rack)
        };
        assert_eq!(rack_of(""), None, "an empty file says nothing");
        assert_eq!(rack_of("broker.rack=a"), Some(Some("a".into())));
        assert_eq!(rack_of("broker.rack=a"), None, "said before");
        assert_eq!(rack_of("broker.rck=b"), None, "wrong");
        assert_eq!(rack_of("broker.rack=b"), Some(Some("b".into())));
        std::fs::remove_file(&path).unwrap();
        assert_eq!(pod.look(), None, "a missing file says nothing");
    }

    #[test]
    fn an_empty_file_is_awaited_and_a_missing_one_is_not() {
        let text = "node.id=1\nlisteners=PLAINTEXT://:9092,CONTROLLER://:9093\n\
            controller.listener.names=CONTROLLER\n";
        let config = Config::from_properties(parse_properties(text).unwrap()).unwrap();
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("broker.properties");
        let pod = PodConfig::new(&path, Arc::new(config));
        assert!(!pod.is_awaited());
        std::fs::write(&path, "\n").unwrap();
        assert!(pod.is_awaited());
        std::fs::write(&path, "broker.rack=a\n").unwrap();
        assert!(!pod.is_awaited());
    }

    #[tokio::test]
    async fn a_broker_waits_for_its_place_but_not_for_ever() {
        let presence = || Presence { listeners: Vec::new(), rack: None };
        let (sender, mut receiver) = watch::channel(presence());
        placed(&mut receiver, &Shutdown::new(), Duration::from_millis(5)).await;
        let long = Duration::from_secs(3600);
        // What it is told may be what it knew.
        sender.send_replace(presence());
        placed(&mut receiver, &Shutdown::new(), long).await;
        let stopped = Shutdown::new();
        stopped.start();
        placed(&mut receiver, &stopped, long).await;
    }
}
