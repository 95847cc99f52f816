//! Brokers whose process has probably ended, seen before the controller says so.
//!
//! This broker holds one silent connection to every other broker. When a process ends, the kernel
//! closes its connections at once, a tenth of a second or more before the controller fences the
//! broker and its leaderships move. A client whose connection broke at the same moment asks
//! somebody for metadata, and some clients ask again only after a second: the answer must not name
//! the dead leader. While a broker is suspected, answers that would name it wait for the election
//! (at most `barnabas.suspect.wait.ms`), and after that say `LEADER_NOT_AVAILABLE`.
//!
//! A suspicion is a hint and fences nobody. It ends when a new connection to the broker holds, when
//! the broker registers anew, and in any case after [`SUSPECT_MAX`]: a broker that this one cannot
//! reach, but the controller can, leads on.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::mem::MaybeUninit;
use std::sync::Arc;
use std::time::Duration;

use base::{BrokerEpoch, BrokerId};
use metadata::{Endpoint, Image};
use parking_lot::Mutex;
use socket2::SockRef;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{Instant, sleep, timeout, timeout_at};

use crate::Broker;

/// The controller has decided about a broken session long before: a suspicion that outlives its
/// decision would only contradict it.
const SUSPECT_MAX: Duration = Duration::from_secs(2);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// A process that is ending may still accept a connection. One that holds for so long is a sign of
/// life.
const HOLDS: Duration = Duration::from_millis(50);
/// Pause between attempts to reach a broker again.
const RETRY_MIN: Duration = Duration::from_millis(20);
const RETRY_MAX: Duration = Duration::from_secs(1);

/// Whom this broker saw go, and when.
#[derive(Debug)]
pub struct Suspects {
    gone: Mutex<BTreeMap<BrokerId, Suspect>>,
    /// The connections, by the registrations that they are to.
    watched: Mutex<BTreeMap<BrokerId, (BrokerEpoch, Arc<TcpStream>)>>,
    /// Counts changes, to wake who waits for an end.
    changes: watch::Sender<u64>,
}

#[derive(Clone, Copy, Debug)]
struct Suspect {
    epoch: BrokerEpoch,
    since: Instant,
}

impl Default for Suspects {
    fn default() -> Suspects {
        let changes = watch::channel(0).0;
        Suspects { gone: Mutex::default(), watched: Mutex::default(), changes }
    }
}

impl Suspects {
    /// Asks the kernel which connections have ended: the task that waits for that may not have run
    /// yet when a client, whose connection ended in the same instant, asks for its leader.
    fn look(&self) {
        let mut watched = self.watched.lock();
        let ended = watched.iter().filter(|(_, (_, stream))| has_ended(stream));
        let ended: Vec<(BrokerId, BrokerEpoch)> =
            ended.map(|(id, (epoch, _))| (*id, *epoch)).collect();
        for (id, _) in &ended {
            watched.remove(id);
        }
        drop(watched);
        for (id, epoch) in ended {
            self.broke(id, epoch);
        }
    }

    /// A connection to this registration of the broker broke.
    fn broke(&self, id: BrokerId, epoch: BrokerEpoch) {
        self.gone.lock().insert(id, Suspect { epoch, since: Instant::now() });
        self.changes.send_modify(|count| *count += 1);
    }

    /// A connection to the broker holds.
    fn reached(&self, id: BrokerId) {
        if self.gone.lock().remove(&id).is_some() {
            self.changes.send_modify(|count| *count += 1);
        }
    }

    /// Whether the registration that the image has of this broker is suspected.
    pub fn is_suspect(&self, image: &Image, id: BrokerId) -> bool {
        image.broker(id).is_some_and(|broker| self.has(id, broker.epoch, Instant::now()))
    }

    fn has(&self, id: BrokerId, epoch: BrokerEpoch, now: Instant) -> bool {
        let suspect = self.gone.lock().get(&id).copied();
        suspect.is_some_and(|s| s.epoch == epoch && s.is_fresh(now))
    }

    /// Nobody is suspected: the usual case, which costs no look at partitions.
    fn is_empty(&self) -> bool {
        let now = Instant::now();
        !self.gone.lock().values().any(|suspect| suspect.is_fresh(now))
    }
}

/// Nobody writes on a watched connection: whatever is there to be read is its end.
fn has_ended(stream: &TcpStream) -> bool {
    let peeked = SockRef::from(stream).peek(&mut [MaybeUninit::uninit()]);
    !peeked.is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
}

impl Suspect {
    fn is_fresh(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.since) < SUSPECT_MAX
    }
}

/// The image that an answer is made from: the current one, or, where it `names` a suspected
/// broker, the first one that does not. Waits no longer than `barnabas.suspect.wait.ms`.
pub async fn settled_image(broker: &Broker, names: impl Fn(&Image) -> bool) -> Arc<Image> {
    let suspects = &broker.suspects;
    let deadline = Instant::now() + Duration::from_millis(broker.config.net.suspect_wait_ms);
    suspects.look();
    let (mut applied, mut changes) =
        (broker.storage.partitions.applied(), suspects.changes.subscribe());
    loop {
        applied.borrow_and_update();
        changes.borrow_and_update();
        let image = broker.image();
        if suspects.is_empty() || !names(&image) {
            return image;
        }
        let news = async {
            tokio::select! {
                _ = applied.changed() => {}
                _ = changes.changed() => {}
            }
        };
        if timeout_at(deadline, news).await.is_err() {
            return broker.image();
        }
    }
}

/// Holds the connections until they must close.
pub async fn run(broker: Arc<Broker>) {
    let closing = broker.shutdown.connections_closing();
    tokio::pin!(closing);
    let mut applied = broker.storage.partitions.applied();
    let mut watches = Watches::default();
    loop {
        applied.borrow_and_update();
        watches.follow(&broker);
        tokio::select! {
            changed = applied.changed() => if changed.is_err() { return },
            Some(_) = watches.tasks.join_next() => {}
            () = &mut closing => return,
        }
    }
}

/// One registration of a broker, and where it accepts its peers.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Peer {
    epoch: BrokerEpoch,
    host: Arc<str>,
    port: u16,
}

#[derive(Default)]
struct Watches {
    peers: HashMap<BrokerId, (Peer, AbortHandle)>,
    tasks: JoinSet<()>,
}

impl Watches {
    /// One task per active peer of the image.
    fn follow(&mut self, broker: &Arc<Broker>) {
        let image = broker.image();
        let listener = &broker.config.inter_broker_listener;
        let peer = |other: &metadata::Broker| {
            let Endpoint { host, port, .. } = other.listener(listener)?.clone();
            Some(Peer { epoch: other.epoch, host, port })
        };
        let wanted: BTreeMap<BrokerId, Peer> = image
            .brokers()
            .filter(|other| other.id != broker.id && !other.fenced)
            .filter_map(|other| Some((other.id, peer(other)?)))
            .collect();
        self.peers.retain(|id, (peer, task)| {
            let keep = wanted.get(id) == Some(peer);
            if !keep {
                task.abort();
                broker.suspects.watched.lock().remove(id);
            }
            keep
        });
        for (id, peer) in wanted {
            if !self.peers.contains_key(&id) {
                let watching = watch_peer(broker.clone(), id, peer.clone());
                self.peers.insert(id, (peer, self.tasks.spawn(watching)));
            }
        }
    }
}

/// Connects, waits for the end, and again, for ever.
async fn watch_peer(broker: Arc<Broker>, id: BrokerId, peer: Peer) {
    let mut pause = RETRY_MIN;
    loop {
        let connecting = TcpStream::connect((&*peer.host, peer.port));
        if let Ok(Ok(stream)) = timeout(CONNECT_TIMEOUT, connecting).await {
            let stream = Arc::new(stream);
            let suspects = &broker.suspects;
            suspects.watched.lock().insert(id, (peer.epoch, stream.clone()));
            if timeout(HOLDS, stream.readable()).await.is_err() {
                suspects.reached(id);
                pause = RETRY_MIN;
                // Whatever comes is its end, an error too.
                let _ = stream.readable().await;
            }
            suspects.watched.lock().remove(&id);
            tracing::debug!(%id, "the watched connection broke");
            suspects.broke(id, peer.epoch);
        }
        sleep(pause).await;
        pause = (pause * 2).min(RETRY_MAX);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_suspicion_ends_by_a_connection_a_new_registration_or_time() {
        let (suspects, one) = (Suspects::default(), BrokerId(1));
        suspects.broke(one, 7);
        let now = Instant::now();
        assert!(suspects.has(one, 7, now));
        assert!(!suspects.has(one, 8, now), "it registered anew");
        assert!(!suspects.has(BrokerId(2), 7, now));
        assert!(!suspects.has(one, 7, now + SUSPECT_MAX), "the controller has decided by now");
        suspects.reached(one);
        assert!(suspects.is_empty() && !suspects.has(one, 7, now));
    }
}
