//! A broker is fenced for its own silence or for the end of its own session, never for what happens
//! on a session of somebody else who claims to be it (invariant of the controller's liveness).

use std::collections::{BTreeMap, BTreeSet};

use base::{BrokerEpoch, BrokerId};

use super::{Check, Property, violated};

/// A controller that hears from a broker at least this often may not call it silent.
const HEARD_MS: i64 = 400;

/// A heartbeat that reached a controller.
#[derive(Clone, Copy, Debug)]
pub struct Heard {
    /// Node and epoch.
    pub controller: (usize, u64),
    pub at_ms: i64,
    pub session: u64,
    pub broker_epoch: BrokerEpoch,
    /// It neither stops nor reports replicas that cannot be used.
    pub wants_to_stay: bool,
}

#[derive(Default)]
pub struct Sessions {
    open: BTreeMap<u64, BrokerId>,
    /// Ended, as some controller heard.
    ended: BTreeSet<u64>,
    /// The last two heartbeats.
    heard: BTreeMap<BrokerId, (Option<Heard>, Heard)>,
}

impl Sessions {
    /// True for the first request on a session.
    pub fn open(&mut self, session: u64, broker: BrokerId) -> bool {
        self.open.insert(session, broker).is_none()
    }

    pub fn closed(&mut self, session: u64) {
        self.ended.insert(session);
    }

    pub fn heard(&mut self, broker: BrokerId, heard: Heard) {
        let before = self.heard.get(&broker).map(|(_, last)| *last);
        self.heard.insert(broker, (before, heard));
    }

    /// This controller fenced a broker of this registration, by a proposal of this time. What it
    /// heard while that waited for its commit is no evidence.
    pub fn fenced(
        &self,
        broker: BrokerId,
        epoch: BrokerEpoch,
        controller: Option<(usize, u64)>,
        proposed_ms: i64,
    ) -> Check {
        let Some((Some(before), heard)) = self.heard.get(&broker) else { return Ok(()) };
        let counts = |heard: &Heard| {
            Some(heard.controller) == controller
                && heard.broker_epoch == epoch
                && heard.wants_to_stay
                && (0..HEARD_MS).contains(&(proposed_ms - heard.at_ms))
                && !self.ended.contains(&heard.session)
        };
        // The last one alone may have come too late to be taken up before.
        if !counts(before) || !counts(heard) || heard.at_ms == before.at_ms {
            return Ok(());
        }
        violated(Property::SessionKept, format!("{broker} is fenced at {proposed_ms}, {heard:?}"))
    }
}
