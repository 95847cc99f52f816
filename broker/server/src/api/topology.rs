//! What several APIs tell about brokers and partitions: who is alive where, and who leads.

use crate::Broker;
use crate::suspects::Suspects;
use base::{BrokerId, ErrorCode};
use metadata::{Broker as BrokerImage, Endpoint, Image, Partition, Topic};

/// Brokers that serve clients on the listener, with their address there.
pub(super) fn alive_on<'a>(
    image: &'a Image,
    listener: &'a str,
) -> impl Iterator<Item = (&'a BrokerImage, &'a Endpoint)> + 'a {
    image
        .brokers()
        .filter(|b| !b.fenced)
        .filter_map(move |b| b.listener(listener).map(|endpoint| (&**b, endpoint)))
}

/// The broker that leads the metadata quorum, as far as this one knows.
pub(super) fn active_controller(broker: &Broker) -> Option<BrokerId> {
    broker.quorum.leadership().borrow().leader
}

/// The controller as clients are told: the active one where it serves the listener, else any
/// broker that does, since every broker forwards to it. -1 where there is none.
pub(super) fn controller_for(image: &Image, active: Option<BrokerId>, listener: &str) -> i32 {
    let mut alive = alive_on(image, listener).map(|(b, _)| b.id).peekable();
    let any = alive.peek().copied();
    alive.find(|id| Some(*id) == active).or(any).map_or(-1, |id| id.0)
}

/// A partition's leader as clients on the listener can use it. One whose process has probably
/// ended is none: a client that goes there only loses time.
pub(super) fn leader_on(
    image: &Image,
    suspects: &Suspects,
    partition: &Partition,
    listener: &str,
) -> Result<BrokerId, ErrorCode> {
    let leader = partition.leader.ok_or(ErrorCode::LeaderNotAvailable)?;
    if suspects.is_suspect(image, leader) {
        return Err(ErrorCode::LeaderNotAvailable);
    }
    let broker = image.broker(leader).filter(|b| !b.fenced).ok_or(ErrorCode::LeaderNotAvailable)?;
    match broker.listener(listener) {
        Some(_) => Ok(leader),
        None => Err(ErrorCode::ListenerNotFound),
    }
}

/// Whether a leader of the topic's partitions is suspected.
pub(super) fn has_suspect_leader(image: &Image, suspects: &Suspects, topic: &Topic) -> bool {
    let mut leaders = topic.partitions.iter().filter_map(|partition| partition.leader);
    leaders.any(|leader| suspects.is_suspect(image, leader))
}

/// Replicas whose broker is fenced or gone.
pub(super) fn offline_replicas(image: &Image, partition: &Partition) -> Vec<i32> {
    let offline =
        |id: &&BrokerId| partition.is_offline(**id) || image.broker(**id).is_none_or(|b| b.fenced);
    partition.replicas.iter().filter(offline).map(|id| id.0).collect()
}
