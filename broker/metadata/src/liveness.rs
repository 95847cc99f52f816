//! Which brokers are alive, as the active controller sees it. A broken session is a strong hint:
//! after a short grace without a new heartbeat the broker is fenced. Silence is the weak one.
//!
//! All of it is soft state: a new controller starts anew and gives every broker the time to open a
//! session. Its predecessor's broker gets less, since the quorum elected a new leader because the
//! old one was gone: so a broker that dies while it is the controller is fenced as quickly as any.
//!
//! A controller that was itself paused must not take its own silence for the brokers': when the
//! calls stop for longer than `stall_ms`, every deadline moves by the gap.

use std::collections::BTreeMap;

use base::{BrokerEpoch, BrokerId};

use crate::image::Image;

/// A connection of a broker to the controller, numbered by whoever accepts connections.
pub type SessionId = u64;

#[derive(Clone, Debug)]
pub struct LivenessSettings {
    /// Time to come back after the session's connection broke.
    pub reconnect_grace_ms: i64,
    /// Time without a heartbeat.
    pub silence_ms: i64,
    /// Time that a new controller gives brokers to send their first heartbeat.
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
            failover_grace_ms: 500,
            predecessor_grace_ms: 150,
            stall_ms: 300,
        }
    }
}

/// The longest interval between heartbeats at which a broker that lives never counts as silent,
/// even if some of them are late.
pub fn heartbeat_interval_ms_max(silence_ms: i64) -> u64 {
    (silence_ms / 5).max(1).unsigned_abs()
}

#[derive(Clone, Debug)]
struct Contact {
    epoch: BrokerEpoch,
    /// The session of the last heartbeat; absent for the controller's own broker.
    session: Option<SessionId>,
    /// The session broke and no heartbeat came since.
    broken: bool,
    deadline: i64,
    image_offset: i64,
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
            let grace =
                if gone { settings.predecessor_grace_ms } else { settings.failover_grace_ms };
            Contact {
                epoch,
                session: None,
                broken: gone,
                deadline: now_ms + grace,
                image_offset: -1,
            }
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
        let contact = Contact { epoch, session, broken: false, deadline, image_offset };
        self.contacts.insert(broker, contact);
    }

    /// A connection broke. Sessions that no broker uses any more are ignored.
    pub fn session_closed(&mut self, session: SessionId, now_ms: i64) {
        self.observe(now_ms);
        let grace = now_ms + self.settings.reconnect_grace_ms;
        for contact in self.contacts.values_mut().filter(|c| c.session == Some(session)) {
            contact.broken = true;
            contact.deadline = contact.deadline.min(grace);
        }
    }

    /// The broker is no longer part of the cluster.
    pub fn forget(&mut self, broker: BrokerId) {
        self.contacts.remove(&broker);
    }

    /// Whether another incarnation of the broker seems to run: a second one with its id is refused
    /// until the first falls silent or its connection breaks.
    pub fn is_live(&self, broker: BrokerId, now_ms: i64) -> bool {
        self.contacts.get(&broker).is_some_and(|c| !c.broken && c.deadline > now_ms)
    }

    /// Unfenced brokers whose time is up. They are reported again until the image has them fenced.
    pub fn expired(&mut self, image: &Image, now_ms: i64) -> Vec<BrokerId> {
        self.observe(now_ms);
        for broker in image.brokers().filter(|b| !b.fenced) {
            // Unfenced by a record that this tracker never saw: time starts now.
            let deadline = now_ms + self.settings.silence_ms;
            let fresh = || Contact {
                epoch: broker.epoch,
                session: None,
                broken: false,
                deadline,
                image_offset: -1,
            };
            self.contacts.entry(broker.id).or_insert_with(fresh);
        }
        let unfenced = image.brokers().filter(|b| !b.fenced);
        unfenced
            .filter(|b| self.contacts.get(&b.id).is_some_and(|c| c.deadline <= now_ms))
            .map(|b| b.id)
            .collect()
    }

    /// When [`Liveness::expired`] must be asked next, at the latest. Also bounds the time between
    /// calls well below `stall_ms`.
    pub fn next_deadline(&self, image: &Image) -> i64 {
        let unfenced = image.brokers().filter(|b| !b.fenced);
        let deadlines = unfenced.filter_map(|b| self.contacts.get(&b.id)).map(|c| c.deadline);
        deadlines.fold(self.last_call + self.settings.stall_ms / 3, i64::min)
    }

    /// Whether every unfenced broker but `except` has published an image of at least `offset`.
    pub fn all_reached(&self, image: &Image, offset: i64, except: BrokerId) -> bool {
        image.brokers().filter(|b| !b.fenced && b.id != except).all(|b| {
            self.contacts.get(&b.id).is_some_and(|c| c.epoch == b.epoch && c.image_offset >= offset)
        })
    }

    fn observe(&mut self, now_ms: i64) {
        let gap = now_ms - self.last_call;
        if gap > self.settings.stall_ms {
            for contact in self.contacts.values_mut() {
                contact.deadline += gap;
            }
        }
        self.last_call = self.last_call.max(now_ms);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
#[path = "liveness_tests.rs"]
mod tests;
