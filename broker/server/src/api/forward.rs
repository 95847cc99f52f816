//! The way of an administrative request to the active controller: one call, and the answer either
//! of the expected kind or an error code with a message for the client.

use std::sync::Arc;
use std::time::Duration;

use base::{BrokerId, ErrorCode};
use metadata::{ControllerCall, ControllerError, Image};
use wire::Str;

use crate::Broker;

/// How long an answer waits at most until this broker's own image shows the change, so that a
/// client that asks this broker next sees what it just did.
const IMAGE_WAIT_MAX: Duration = Duration::from_secs(1);

/// Asks the active controller.
pub(super) async fn forward<C: ControllerCall>(
    broker: &Arc<Broker>,
    call: C,
) -> Result<C::Reply, ControllerError> {
    broker.controller.call(call).await
}

/// Waits, for a bounded time, until this broker's image shows the effect of a change.
pub(super) async fn await_image(broker: &Arc<Broker>, shows: impl Fn(&Image) -> bool) {
    let mut applied = broker.storage.partitions.applied();
    let shown = applied.wait_for(|_| shows(&broker.image()));
    // A timeout only means that the client may have to look twice.
    let _ = tokio::time::timeout(IMAGE_WAIT_MAX, shown).await;
}

/// As `await_image`, until this broker knows of the topics and has made its replicas of them: who
/// writes to a new topic next finds it.
pub(super) async fn await_topics(broker: &Arc<Broker>, topics: &[Arc<str>]) {
    let mut applied = broker.storage.partitions.applied();
    let made = async {
        let known = |image: &Image| topics.iter().all(|name| image.topic(name).is_some());
        let _ = applied.wait_for(|_| known(&broker.image())).await;
        broker.storage.partitions.hosts(topics).await;
    };
    let _ = tokio::time::timeout(IMAGE_WAIT_MAX, made).await;
}

/// Code and message of a result as responses carry them: 0 and null for success.
pub(super) fn outcome(result: &Result<(), ControllerError>) -> (i16, Option<Str>) {
    match result {
        Ok(()) => (ErrorCode::None.code(), None),
        Err(error) => (error.code.code(), Some(Str::from(&error.message))),
    }
}

/// What belongs to one topic, together: the controller answers topic by topic.
pub(super) fn by_topic<P>(all: impl Iterator<Item = (Arc<str>, P)>) -> Vec<(Str, Vec<P>)> {
    let mut topics: Vec<(Str, Vec<P>)> = Vec::new();
    for (topic, one) in all {
        match topics.last_mut().filter(|(name, _)| *name == *topic) {
            Some((_, same)) => same.push(one),
            None => topics.push((Str::from(&topic), vec![one])),
        }
    }
    topics
}

/// Broker ids as the wire has them.
pub(super) fn ids(brokers: &[BrokerId]) -> Vec<i32> {
    brokers.iter().map(|b| b.0).collect()
}
