//! Which brokers are alive, as the active controller sees it. There are three hints:
//! - The session broke, and nobody listens where the broker was: its process ended. It is fenced
//!   after a short grace.
//! - The session broke, and no more is known. The connection may have broken on its way, which the
//!   broker sees with its next heartbeat at the latest: the grace is longer than a heartbeat and a
//!   reconnection.
//! - Silence, which takes longest.
//!
//! Where more than half of the brokers seem to go within one short grace, something between them
//! and the controller broke: they are judged by their silence alone.
//!
//! All of it is soft state: a new controller starts anew and gives every broker as long as it may
//! be silent to open a session. Its predecessor's broker gets less, since the quorum elected a new
//! leader because the old one was gone: so a broker that dies while it is the controller is fenced
//! as quickly as any.
//!
//! Where fencing would do more harm than the silence does, the controller puts it off: up to
//! [`SILENCES_MAX`] times the silence, and never after the session broke.
//!
//! A controller that was itself paused must not take its own silence for the brokers': when the
//! calls stop for longer than `stall_ms`, every deadline moves by the gap.

use std::collections::BTreeMap;

use base::{BrokerEpoch, BrokerId};

use crate::image::Image;

/// Silences after which a broker is fenced, whatever that does to its partitions.
pub(crate) const SILENCES_MAX: i64 = 3;

/// A connection of a broker to the controller, numbered by whoever accepts connections.
pub type SessionId = u64;

#[derive(Clone, Debug)]
pub struct LivenessSettings {
    /// Time to come back after the session's connection broke, where nobody listens any more.
    pub reconnect_grace_ms: i64,
    /// Time without a heartbeat.
    pub silence_ms: i64,
    /// Time that a new controller gives brokers to send their first heartbeat; never less than
    /// the silence.
    pub failover_grace_ms: i64,
    /// The same for the broker that was the controller before.
    pub predecessor_grace_ms: i64,
    /// Calls further apart than this mean that the controller itself stood still.
    pub stall_ms: i64,
}

impl Default for LivenessSettings {
    fn default() -> LivenessSettings {
        LivenessSettings {
            reconnect_grace_ms: 100,
            silence_ms: 1000,
            failover_grace_ms: 1000,
            predecessor_grace_ms: 150,
            stall_ms: 300,
        }
    }
}

impl LivenessSettings {
    /// Time to come back after a break of unknown cause: two fifths of the silence are for the next
    /// heartbeat, which meets the broken connection and may be late, and the rest is for a new
    /// connection.
    fn doubt_grace_ms(&self) -> i64 {
        self.reconnect_grace_ms.max(self.silence_ms / 2)
    }
}

/// The longest interval between heartbeats at which a broker that lives never counts as silent,
/// even if some of them are late.
pub fn heartbeat_interval_ms_max(silence_ms: i64) -> u64 {
    (silence_ms / 5).max(1).unsigned_abs()
}

/// The session broke and no heartbeat came since.
#[derive(Clone, Copy, Debug)]
struct Break {
    at: i64,
    deadline: i64,
    /// Too many broke with it: it is judged by its silence.
    excused: bool,
}

#[derive(Clone, Debug)]
struct Contact {
    epoch: BrokerEpoch,
    /// The session of the last heartbeat; absent for the controller's own broker.
    session: Option<SessionId>,
    broken: Option<Break>,
    /// By its silence.
    deadline: i64,
    /// Its fencing is put off until then, and is asked for again.
    put_off_until: i64,
    image_offset: i64,
}

impl Contact {
    fn fresh(epoch: BrokerEpoch, deadline: i64) -> Contact {
        let (session, broken, image_offset) = (None, None, -1);
        Contact { epoch, session, broken, deadline, put_off_until: deadline, image_offset }
    }

    /// The break that it is judged by.
    fn judged_by(&self) -> Option<Break> {
        self.broken.filter(|broken| !broken.excused)
    }

    /// When it is to be fenced, or its fencing to be thought of again.
    fn due(&self) -> i64 {
        match self.judged_by() {
            Some(broken) => broken.deadline.min(self.deadline),
            None => self.deadline.max(self.put_off_until),
        }
    }

    fn is_live(&self, now_ms: i64) -> bool {
        self.broken.is_none() && self.deadline > now_ms
    }
}

/// A broker whose time is up.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Expired {
    pub broker: BrokerId,
    /// It is only silent, and not for so long that its fencing could not be put off.
    pub may_wait: bool,
}

#[derive(Clone, Debug)]
pub struct Liveness {
    settings: LivenessSettings,
    contacts: BTreeMap<BrokerId, Contact>,
    last_call: i64,
}

impl Liveness {
    /// Tracking starts when a controller becomes active; `predecessor` was it before.
    pub fn new(
        settings: LivenessSettings,
        image: &Image,
        predecessor: Option<BrokerId>,
        now_ms: i64,
    ) -> Liveness {
        let contact = |id: BrokerId, epoch: BrokerEpoch| {
            let gone = predecessor == Some(id);
            let grace = if gone {
                settings.predecessor_grace_ms
            } else {
                settings.failover_grace_ms.max(settings.silence_ms)
            };
            let deadline = now_ms + grace;
            let broken = gone.then_some(Break { at: now_ms, deadline, excused: false });
            Contact { broken, ..Contact::fresh(epoch, deadline) }
        };
        let contacts =
            image.brokers().filter(|b| !b.fenced).map(|b| (b.id, contact(b.id, b.epoch))).collect();
        Liveness { settings, contacts, last_call: now_ms }
    }

    /// A heartbeat of the broker's current incarnation came (or its registration).
    pub fn heartbeat(
        &mut self,
        broker: BrokerId,
        epoch: BrokerEpoch,
        session: Option<SessionId>,
        image_offset: i64,
        now_ms: i64,
    ) {
        self.observe(now_ms);
        let deadline = now_ms + self.settings.silence_ms;
        let contact = Contact { session, image_offset, ..Contact::fresh(epoch, deadline) };
        self.contacts.insert(broker, contact);
    }

    /// A connection broke. Sessions that no broker uses any more are ignored.
    pub fn session_closed(&mut self, session: SessionId, now_ms: i64) {
        self.observe(now_ms);
        let deadline = now_ms + self.settings.doubt_grace_ms();
        for contact in self.contacts.values_mut().filter(|c| c.session == Some(session)) {
            contact.broken.get_or_insert(Break { at: now_ms, deadline, excused: false });
        }
        self.excuse_many(now_ms);
    }

    /// Nobody listens any more where the broker of this broken session was.
    pub fn process_ended(&mut self, session: SessionId, now_ms: i64) {
        self.observe(now_ms);
        let grace_ms = self.settings.reconnect_grace_ms;
        let of_session = self.contacts.values_mut().filter(|c| c.session == Some(session));
        for broken in of_session.filter_map(|contact| contact.broken.as_mut()) {
            broken.deadline = broken.deadline.min(broken.at + grace_ms);
        }
    }

    /// Excuses those that broke within the last grace if they are more than half of those that
    /// were there.
    fn excuse_many(&mut self, now_ms: i64) {
        let since = now_ms - self.settings.reconnect_grace_ms;
        let is_new = |c: &Contact| c.broken.is_some_and(|broken| broken.at >= since);
        let broken = self.contacts.values().filter(|c| is_new(c)).count();
        let live = self.contacts.values().filter(|c| c.is_live(now_ms)).count();
        if broken > live {
            let new = self.contacts.values_mut().filter(|c| is_new(c));
            new.filter_map(|c| c.broken.as_mut()).for_each(|broken| broken.excused = true);
        }
    }

    /// The broker is no longer part of the cluster.
    pub fn forget(&mut self, broker: BrokerId) {
        self.contacts.remove(&broker);
    }

    /// Whether another incarnation of the broker seems to run: a second one with its id is refused
    /// until the first falls silent or its connection breaks.
    pub fn is_live(&self, broker: BrokerId, now_ms: i64) -> bool {
        self.contacts.get(&broker).is_some_and(|c| c.is_live(now_ms))
    }

    /// Unfenced brokers whose time is up. They are reported again until the image has them fenced.
    pub fn expired(&mut self, image: &Image, now_ms: i64) -> Vec<Expired> {
        self.observe(now_ms);
        for broker in image.brokers().filter(|b| !b.fenced) {
            // Unfenced by a record that this tracker never saw: time starts now.
            let deadline = now_ms + self.settings.silence_ms;
            let fresh = || Contact::fresh(broker.epoch, deadline);
            self.contacts.entry(broker.id).or_insert_with(fresh);
        }
        let more_ms = (SILENCES_MAX - 1) * self.settings.silence_ms;
        let expired = |id: BrokerId| {
            let contact = self.contacts.get(&id).filter(|c| c.due() <= now_ms)?;
            // Excused or not: who is silent on a broken session is more than silent.
            let may_wait = contact.broken.is_none() && now_ms < contact.deadline + more_ms;
            Some(Expired { broker: id, may_wait })
        };
        image.brokers().filter(|b| !b.fenced).filter_map(|b| expired(b.id)).collect()
    }

    /// The broker, which may wait, is not fenced now. It is reported again in a moment.
    pub fn put_off(&mut self, broker: BrokerId, now_ms: i64) {
        if let Some(contact) = self.contacts.get_mut(&broker) {
            contact.put_off_until = now_ms + self.settings.stall_ms / 3;
        }
    }

    /// When [`Liveness::expired`] must be asked next, at the latest. Also bounds the time between
    /// calls well below `stall_ms`.
    pub fn next_deadline(&self, image: &Image) -> i64 {
        let unfenced = image.brokers().filter(|b| !b.fenced);
        let deadlines = unfenced.filter_map(|b| self.contacts.get(&b.id)).map(Contact::due);
        deadlines.fold(self.last_call + self.settings.stall_ms / 3, i64::min)
    }

    /// Whether every unfenced broker but `except` has published an image of at least `offset`.
    pub fn all_reached(&self, image: &Image, offset: i64, except: BrokerId) -> bool {
        image.brokers().filter(|b| !b.fenced && b.id != except).all(|b| {
            self.contacts.get(&b.id).is_some_and(|c| c.epoch == b.epoch && c.image_offset >= offset)
        })
    }

    /// Panics when an invariant is broken: nobody's time runs longer than the longest grace.
    pub(crate) fn validate(&self) {
        let settings = &self.settings;
        let graces = [settings.silence_ms, settings.failover_grace_ms];
        let grace_ms = graces.into_iter().fold(settings.predecessor_grace_ms, i64::max);
        let break_ms = settings.doubt_grace_ms().max(settings.predecessor_grace_ms);
        for (id, contact) in &self.contacts {
            let left_ms = contact.deadline - self.last_call;
            assert!(left_ms <= grace_ms, "broker {id} may be silent too long: {contact:?}");
            let Some(broken) = contact.broken else { continue };
            assert!(broken.at <= self.last_call, "a break of the future of {id}: {broken:?}");
            assert!(broken.at <= broken.deadline, "{id} has no time to come back: {broken:?}");
            let left_ms = broken.deadline - self.last_call;
            assert!(left_ms <= break_ms, "broker {id} may be gone too long: {broken:?}");
        }
    }

    fn observe(&mut self, now_ms: i64) {
        let gap = now_ms - self.last_call;
        if gap > self.settings.stall_ms {
            for contact in self.contacts.values_mut() {
                contact.deadline += gap;
                contact.put_off_until += gap;
                if let Some(broken) = &mut contact.broken {
                    broken.at += gap;
                    broken.deadline += gap;
                }
            }
        }
        self.last_call = self.last_call.max(now_ms);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
#[path = "liveness_tests.rs"]
mod tests;
