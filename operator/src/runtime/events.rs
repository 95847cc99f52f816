//! Kubernetes Events: what happened to an object, for `kubectl describe`. The caller publishes on
//! transitions only; repeats of one event become one object with a count.

use std::time::Duration;

use k8s_openapi::api::core::v1::ObjectReference;
use kube::Client;
use kube::runtime::events::{Event, EventType, Recorder, Reporter};
use tokio::time::timeout;

use super::{Metrics, Settings};

/// The API server takes 1 kB.
const NOTE_CHARS_MAX: usize = 900;
/// An Event is a courtesy: it never holds a pass up for long.
const PATIENCE: Duration = Duration::from_secs(2);

/// Publishes Events.
#[derive(Clone)]
pub struct Events {
    recorder: Recorder,
}

/// How an Event is shown.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Severity {
    Normal,
    Warning,
}

impl Events {
    pub fn new(client: Client, settings: &Settings) -> Events {
        let reporter = Reporter {
            controller: "barnabas-operator".into(),
            instance: Some(settings.pod_name.clone()),
        };
        Events { recorder: Recorder::new(client, reporter) }
    }

    /// `reason` and `action` are CamelCase. A failure is logged, and nothing else.
    pub async fn publish(
        &self,
        metrics: &Metrics,
        on: &ObjectReference,
        severity: Severity,
        reason: &str,
        action: &str,
        note: &str,
    ) {
        let event = Event {
            type_: match severity {
                Severity::Normal => EventType::Normal,
                Severity::Warning => EventType::Warning,
            },
            reason: reason.into(),
            note: Some(note.chars().take(NOTE_CHARS_MAX).collect()),
            // Events that differ in their words only would be counted as one, with the first words.
            action: format!("{action}{:04x}", note_hash(note)),
            secondary: None,
        };
        metrics.wrote("Event");
        match timeout(PATIENCE, self.recorder.publish(&event, on)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::debug!(%error, reason, "event not published"),
            Err(_) => tracing::debug!(reason, "event not published in time"),
        }
    }
}

fn note_hash(note: &str) -> u16 {
    note.bytes().fold(0x811c, |hash, byte| (hash ^ u16::from(byte)).wrapping_mul(0x0193))
}
