//! The places of the internal listener. Nobody waits for one: a handshake takes milliseconds, and a
//! connection of a broker is hardly ever silent, so what stands still longest gives way. Sockets
//! that only sit there, however many, keep no broker out.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::Notify;

use super::frame::Channel;
use crate::types::NodeId;

/// Handshakes under way, in all and of one address.
const SHAKING_MAX: usize = 256;
const SHAKING_PER_SOURCE_MAX: usize = 64;
/// Connections after their handshake, in all and of one node by channel: it has one or a few, and
/// those that it believes to be broken.
const OPEN_MAX: usize = 1024;
const OPEN_PER_PEER_MAX: usize = 16;
/// A connection that was used so recently is somebody's.
const IN_USE: Duration = Duration::from_secs(10);

struct Entry {
    source: IpAddr,
    /// Known from the handshake on.
    peer: Option<(NodeId, Channel)>,
    used: Instant,
    evicted: Arc<Notify>,
}

#[derive(Default)]
struct Table {
    entries: HashMap<u64, Entry>,
    next_id: u64,
}

#[derive(Clone, Default)]
pub(super) struct Connections {
    table: Arc<Mutex<Table>>,
}

/// One connection's place; given back when dropped.
pub(super) struct Place {
    id: u64,
    evicted: Arc<Notify>,
    connections: Connections,
}

impl Connections {
    /// A place for a handshake.
    pub(super) fn accept(&self, source: IpAddr, now: Instant) -> Place {
        let mut table = self.table.lock();
        let is_shaking = |entry: &Entry| entry.peer.is_none();
        table.make_room(SHAKING_PER_SOURCE_MAX, now, |entry| {
            is_shaking(entry) && entry.source == source
        });
        table.make_room(SHAKING_MAX, now, is_shaking);
        let (id, evicted) = (table.next_id, Arc::new(Notify::new()));
        table.next_id += 1;
        let entry = Entry { source, peer: None, used: now, evicted: evicted.clone() };
        table.entries.insert(id, entry);
        Place { id, evicted, connections: self.clone() }
    }
}

impl Table {
    /// Sees to it that there are fewer than `max` of a kind: the one that was used least recently
    /// goes. False if all were used after `idle_since`.
    fn make_room(
        &mut self,
        max: usize,
        idle_since: Instant,
        kind: impl Fn(&Entry) -> bool,
    ) -> bool {
        let of_kind = || self.entries.iter().filter(|(_, entry)| kind(entry));
        if of_kind().count() < max {
            return true;
        }
        let longest = of_kind().min_by_key(|(id, entry)| (entry.used, **id));
        let Some(id) = longest.filter(|(_, e)| e.used <= idle_since).map(|(id, _)| *id) else {
            return false;
        };
        if let Some(entry) = self.entries.remove(&id) {
            entry.evicted.notify_one();
        }
        true
    }
}

impl Place {
    /// The handshake is done. False if there is no place for more of this kind.
    pub(super) fn open(&self, node: NodeId, channel: Channel, now: Instant) -> bool {
        let peer = Some((node, channel));
        let Some(idle_since) = now.checked_sub(IN_USE) else { return true };
        let mut table = self.connections.table.lock();
        let has_room = table.make_room(OPEN_PER_PEER_MAX, idle_since, |entry| entry.peer == peer)
            && table.make_room(OPEN_MAX, idle_since, |entry| entry.peer.is_some());
        let Some(entry) = table.entries.get_mut(&self.id).filter(|_| has_room) else {
            return false;
        };
        (entry.peer, entry.used) = (peer, now);
        true
    }

    /// A request came.
    pub(super) fn used(&self, now: Instant) {
        if let Some(entry) = self.connections.table.lock().entries.get_mut(&self.id) {
            entry.used = now;
        }
    }

    /// Ready when the place was given to another.
    pub(super) async fn evicted(&self) {
        self.evicted.notified().await;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.connections.table.lock().entries.remove(&self.id);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::net::Ipv4Addr;

    use futures::FutureExt;

    use super::*;

    fn source(number: u8) -> IpAddr {
        Ipv4Addr::new(10, 0, 0, number).into()
    }

    fn evicted(places: &[Place]) -> usize {
        places.iter().filter(|place| place.evicted().now_or_never().is_some()).count()
    }

    /// A while after the machine was started.
    fn begin() -> Instant {
        Instant::now() + 10 * IN_USE
    }

    #[test]
    fn handshakes_that_stand_still_give_way_to_the_newest() {
        let (connections, begin) = (Connections::default(), begin());
        let other = connections.accept(source(2), begin);
        let mut idle = Vec::new();
        for ms in 1..=3 * SHAKING_PER_SOURCE_MAX {
            let now = begin + Duration::from_millis(ms as u64);
            idle.push(connections.accept(source(1), now));
        }
        assert_eq!(evicted(&idle), 2 * SHAKING_PER_SOURCE_MAX);
        assert!(other.open(7, Channel::Raft, begin), "another address is not concerned");
    }

    #[test]
    fn idle_connections_keep_no_broker_out_and_busy_ones_stay() {
        let (connections, now) = (Connections::default(), begin());
        let broker = connections.accept(source(1), now);
        assert!(broker.open(1, Channel::Controller, now));
        let mut idle = Vec::new();
        for node in 0..OPEN_MAX as NodeId + 10 {
            let place = connections.accept(source(2), now);
            let has_room = node + 1 < OPEN_MAX as NodeId;
            let is_open = place.open(100 + node, Channel::Raft, now);
            assert_eq!(is_open, has_room, "all were just opened");
            if is_open {
                idle.push(place);
            }
        }
        let now = now + IN_USE;
        broker.used(now);
        let newcomer = connections.accept(source(3), now);
        assert!(newcomer.open(2, Channel::Raft, now));
        assert_eq!(evicted(&idle), 1);
        assert_eq!(evicted(&[broker, newcomer]), 0);
    }

    #[test]
    fn one_node_has_a_few() {
        let (connections, now) = (Connections::default(), begin());
        let open = |channel, now| {
            let place = connections.accept(source(1), now);
            place.open(1, channel, now).then_some(place)
        };
        let own: Vec<Place> =
            (0..OPEN_PER_PEER_MAX).map(|_| open(Channel::Raft, now).unwrap()).collect();
        assert!(open(Channel::Raft, now).is_none());
        assert!(open(Channel::Controller, now).is_some());
        assert!(open(Channel::Raft, now + IN_USE).is_some());
        assert_eq!(evicted(&own), 1);
    }
}
