//! Brokers that leave their ISRs, and whether now is the time. Who asks to stop waits for replicas
//! that are on their way back, if partitions need them; who is merely silent is not fenced where
//! that helps no partition and takes some below their minimum.

use std::collections::{BTreeMap, BTreeSet};

use base::{BrokerEpoch, BrokerId, TopicPartition};

use super::draft::Draft;
use crate::image::{Broker, Image};
use crate::liveness::{Expired, Liveness};
use crate::risk::{Verdict, stop_verdict};

/// A broker waits no longer for permission to stop, within the 30 s that it gives itself and that
/// Kubernetes gives it.
const STOP_WAIT_MAX_MS: i64 = 15_000;

/// Who asked to stop, and when first. Soft state: with a new controller the time starts anew.
#[derive(Clone, Default, Debug)]
pub(super) struct Stops(BTreeMap<BrokerId, (BrokerEpoch, i64)>);

impl Stops {
    pub fn asked(&mut self, broker: &Broker, now_ms: i64) {
        match self.0.get(&broker.id) {
            Some((epoch, _)) if *epoch == broker.epoch => {}
            _ => {
                self.0.insert(broker.id, (broker.epoch, now_ms));
            }
        }
    }

    fn waited_ms(&self, broker: BrokerId, now_ms: i64) -> i64 {
        self.0.get(&broker).map_or(0, |(_, since)| now_ms - since)
    }

    /// It asked to stop, or does.
    fn is_stopping(&self, broker: &Broker) -> bool {
        broker.in_controlled_shutdown
            || self.0.get(&broker.id).is_some_and(|(epoch, _)| *epoch == broker.epoch)
    }

    fn may_return(&self, image: &Image, id: BrokerId) -> bool {
        image.broker(id).is_some_and(|broker| !self.is_stopping(broker))
    }
}

impl Draft<'_> {
    /// Whether the broker, which asked to stop, should serve on: its stop would take partitions
    /// below their minimum, and replicas of theirs that are not in sync now can still come back.
    /// When everybody stops, nobody waits.
    pub(super) fn is_worth_waiting(&self, stops: &Stops, broker: &Broker, now_ms: i64) -> bool {
        let image = &self.image;
        if stops.waited_ms(broker.id, now_ms) >= STOP_WAIT_MAX_MS
            || image.brokers().filter(|b| !b.fenced).all(|b| stops.is_stopping(b))
        {
            return false;
        }
        image.partitions_at_stake(broker.id).any(|tp| {
            let returns = image.partition(&tp.topic, tp.partition).is_some_and(|p| {
                let is_missing = |b: &&BrokerId| !p.in_isr(**b) && !p.is_offline(**b);
                let mut missing = p.replicas.iter().filter(is_missing);
                missing.any(|b| stops.may_return(image, *b))
            });
            returns && self.verdict(tp, &BTreeSet::from([broker.id])) == Verdict::AtRisk
        })
    }

    /// Those of the brokers whose time is up that are to be fenced now. The others are put off.
    pub(super) fn worth_fencing(
        &self,
        liveness: &mut Liveness,
        expired: &[Expired],
        now_ms: i64,
    ) -> Vec<BrokerId> {
        let (silent, gone): (Vec<Expired>, Vec<Expired>) =
            expired.iter().copied().partition(|e| e.may_wait);
        let mut dead: BTreeSet<BrokerId> = gone.iter().map(|e| e.broker).collect();
        for silent in silent {
            dead.insert(silent.broker);
            if self.only_harms(silent.broker, &dead) {
                dead.remove(&silent.broker);
                liveness.put_off(silent.broker, now_ms);
            }
        }
        dead.into_iter().collect()
    }

    /// Whether the broker's fencing, with the others', takes partitions below their minimum and
    /// helps none. Without it they wait for the silent broker and acknowledge nothing either way,
    /// and go on at once when it is heard again. A partition with enough other replicas is helped:
    /// only the fencing lets it acknowledge again, under a new leader or without this follower.
    fn only_harms(&self, broker: BrokerId, dead: &BTreeSet<BrokerId>) -> bool {
        let in_isr = |tp: &&TopicPartition| {
            self.image.partition(&tp.topic, tp.partition).is_some_and(|p| p.in_isr(broker))
        };
        let mut harms = false;
        for tp in self.image.partitions_at_stake(broker).filter(in_isr) {
            match self.verdict(tp, dead) {
                Verdict::Safe => return false,
                Verdict::AtRisk if self.recovers_without(tp, broker, dead) => return false,
                Verdict::AtRisk => harms = true,
                Verdict::Unavoidable => {}
            }
        }
        harms
    }

    /// The broker leads the partition, and under another leader enough of its replicas could be
    /// in sync soon: as long as this one leads, they cannot even catch up.
    fn recovers_without(
        &self,
        tp: &TopicPartition,
        broker: BrokerId,
        dead: &BTreeSet<BrokerId>,
    ) -> bool {
        let Some(partition) = self.image.partition(&tp.topic, tp.partition) else { return false };
        let serves = |b: &&BrokerId| {
            !dead.contains(*b) && self.image.is_active(**b) && !partition.is_offline(**b)
        };
        let minimum = self.rules(&tp.topic).min_isr.min(partition.replicas.len());
        partition.leader == Some(broker)
            && partition.isr.iter().any(|b| serves(&b))
            && partition.replicas.iter().filter(serves).count() >= minimum
    }

    fn verdict(&self, tp: &TopicPartition, stopped: &BTreeSet<BrokerId>) -> Verdict {
        stop_verdict(&self.image, &self.settings.static_config, tp, stopped)
    }
}
