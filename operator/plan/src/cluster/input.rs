//! What follows from an observation: which brokers are whole, which are not and why, and what the
//! quorum can spare.

use base::BrokerId;

use crate::fleet::Fleet;
use crate::observed::{
    BrokerRisk, BrokerView, ClusterView, Desired, MoveView, Observed, PartitionView, PodPhase,
    PodView, QuorumView,
};

/// For so long a broker that is not whole counts as coming back by itself.
const FRESH_MS: i64 = 120_000;
/// A file system that can grow while it is in use has done so by then.
const RESIZE_MS: i64 = 300_000;
/// For so long a pod may be absent, or be about to start on a spec that has changed since.
const MAKING_MS: i64 = 60_000;
/// A broker that runs and is not ready for so long needs somebody to look at it.
const UNREADY_MS: i64 = 600_000;
/// A broker must have been ready for so long before others go: one that is just back may not stay.
const SETTLED_MS: i64 = 5_000;
/// Nodes' clocks may be ahead of the operator's by so much.
const SKEW_MS: i64 = 60_000;

/// An observation, to be asked what follows from it.
#[derive(Clone, Copy)]
pub(super) struct StageInput<'a> {
    pub(super) seen: &'a Observed,
}

/// Why a broker is not whole.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Unhealthy {
    pub(super) broker: BrokerId,
    pub(super) text: String,
    /// It will not come back by itself.
    pub(super) broken: bool,
    /// It has not been so for long.
    pub(super) fresh: bool,
}

impl<'a> StageInput<'a> {
    pub(super) fn new(seen: &'a Observed) -> StageInput<'a> {
        StageInput { seen }
    }

    pub(super) fn desired(&self) -> &'a Desired {
        &self.seen.desired
    }

    pub(super) fn fleet(&self) -> &'a Fleet {
        &self.seen.fleet
    }

    /// Brokers that have a pod, or are soon to have one.
    pub(super) fn ids(&self) -> impl Iterator<Item = BrokerId> + use<'a> {
        self.fleet().ids()
    }

    pub(super) fn pod(&self, id: BrokerId) -> Option<&'a PodView> {
        self.seen.pods.get(&id)
    }

    pub(super) fn cluster(&self) -> Option<&'a ClusterView> {
        self.seen.cluster.as_ref()
    }

    pub(super) fn broker(&self, id: BrokerId) -> Option<&'a BrokerView> {
        self.cluster()?.brokers.get(&id)
    }

    pub(super) fn risk(&self, id: BrokerId) -> Option<&'a BrokerRisk> {
        self.broker(id)?.risk.as_ref()
    }

    pub(super) fn quorum(&self) -> Option<&'a QuorumView> {
        self.cluster()?.quorum.as_ref()
    }

    pub(super) fn moves(&self) -> Option<&'a [MoveView]> {
        self.cluster()?.moves.as_deref()
    }

    pub(super) fn partitions(&self) -> Option<&'a [PartitionView]> {
        self.seen.partitions.as_deref()
    }

    pub(super) fn is_cordoned(&self, id: BrokerId) -> Option<bool> {
        Some(self.broker(id)?.settings?.cordoned)
    }

    /// Replicas that the broker should have in sync and has not. One that it is only about to
    /// get is nobody's loss.
    pub(super) fn lagging(&self, id: BrokerId) -> Option<u64> {
        let missing = self.broker(id)?.missing.as_ref()?;
        let arriving = |m: &&MoveView| m.adding.contains(&id) && !m.isr.contains(&id);
        let arriving = self.moves().unwrap_or_default().iter().filter(arriving).count();
        Some(missing.count.saturating_sub(arriving as u64))
    }

    /// Partitions have to be asked for their ISR, before anything is decided by it.
    pub(super) fn lacks_isr(&self) -> bool {
        let moves = self.moves().unwrap_or_default();
        self.partitions().is_none() && moves.iter().any(|m| m.isr.is_empty())
    }

    /// A broker that is to start on a spec that is no longer the newest, and does not get there: a
    /// volume that cannot be mounted, a network that gives it no address.
    pub(super) fn is_stalled(&self, pod: &PodView) -> bool {
        let long = self.seen.now_ms - pod.created_ms >= MAKING_MS;
        pod.phase == PodPhase::Creating && (pod.outdated || pod.restart_marked) && long
    }

    /// Its file system waits for a start of the pod to grow, and has waited for longer than one
    /// needs that can grow while it is in use. A pod that started since has not helped: another
    /// would not.
    pub(super) fn is_to_grow(&self, id: BrokerId, pod: &PodView) -> bool {
        let since = self.seen.claims.get(&id).and_then(|claim| claim.resize_since_ms);
        since.is_some_and(|since| pod.created_ms <= since && self.seen.now_ms - since >= RESIZE_MS)
    }

    /// A broker that is whole, but only just: it is no proof yet that it stays.
    pub(super) fn unsettled(&self, id: BrokerId) -> Option<Unhealthy> {
        let since = self.seen.now_ms - self.pod(id).filter(|pod| pod.ready)?.since_ms;
        let text = format!("broker {id} has only just become ready");
        let just = (-SKEW_MS..SETTLED_MS).contains(&since);
        just.then_some(Unhealthy { broker: id, text, broken: false, fresh: true })
    }

    /// What has lasted for too long to be only waited for, of a broker that nothing is wrong with
    /// in Kubernetes' own words.
    pub(super) fn overdue(&self, id: BrokerId) -> Option<String> {
        let flaw = self.flaw(id)?;
        let Some(pod) = self.pod(id) else { return (!flaw.fresh).then_some(flaw.text) };
        let known = self.broker(id).is_some_and(|broker| !broker.fenced);
        let catching_up = known && self.lagging(id).is_some_and(|n| n > 0);
        let starts = matches!(pod.phase, PodPhase::Creating | PodPhase::Running);
        let long = self.seen.now_ms - pod.since_ms >= UNREADY_MS;
        // Who has much to catch up with gets there.
        (starts && !pod.ready && long && !catching_up)
            .then(|| format!("{}, and was not for ten minutes", flaw.text))
    }

    /// It has not been as it is for long, or its node has only just come back.
    pub(super) fn is_fresh(&self, pod: &PodView) -> bool {
        self.seen.now_ms - pod.known_since_ms() < FRESH_MS
    }

    /// What keeps the broker from being whole: running, ready, registered, unfenced, in sync.
    pub(super) fn flaw(&self, id: BrokerId) -> Option<Unhealthy> {
        let flaw =
            |text: String, broken, fresh| Some(Unhealthy { broker: id, text, broken, fresh });
        let Some(pod) = self.pod(id) else {
            let since = self.seen.missing_since.get(&id);
            let fresh = since.is_none_or(|since| self.seen.now_ms - since < MAKING_MS);
            let text = match fresh {
                true => format!("broker {id} has no pod yet"),
                false => format!(
                    "broker {id} has no pod: Kubernetes does not make it (the Events of the \
                     StatefulSet say why)"
                ),
            };
            return flaw(text, false, fresh);
        };
        let fresh = self.is_fresh(pod);
        if let Some(text) = pod.trouble() {
            return flaw(format!("broker {id} {text}"), pod.phase.is_broken(), fresh);
        }
        if pod.crashing && !pod.ready {
            // What it runs on has changed, and may mend it; else it will not come back for good.
            let broken = !pod.outdated && !pod.restart_marked;
            return flaw(format!("broker {id} {}", pod.crashes()), broken, false);
        }
        if !pod.ready {
            let lagging = self.lagging(id).filter(|&n| n > 0);
            let text = match lagging {
                Some(n) => format!("broker {id} is catching up: {n} replicas are not in sync"),
                None => format!("broker {id} is not ready yet"),
            };
            return flaw(text, false, fresh);
        }
        let Some(broker) = self.broker(id) else {
            return flaw(format!("broker {id} is not registered yet"), false, fresh);
        };
        if broker.fenced {
            return flaw(format!("broker {id} is fenced"), false, fresh);
        }
        match self.lagging(id) {
            None => flaw(format!("broker {id} does not say what it lacks"), false, fresh),
            Some(0) => None,
            Some(n) => {
                let examples = broker.missing.as_ref().map_or(&[][..], |m| &m.examples);
                let names = listed(examples, n);
                flaw(format!("broker {id} is catching up: {names} not in sync"), false, fresh)
            }
        }
    }

    /// Some broker is ready: there is a leader of the quorum, whoever can be asked.
    pub(super) fn is_served(&self) -> bool {
        self.ids().filter_map(|id| self.pod(id)).any(|pod| pod.ready)
    }

    /// A voter whose vote counts on: caught up, and its pod is not going.
    pub(super) fn is_live_voter(&self, id: BrokerId) -> bool {
        let voter = self.quorum().and_then(|q| q.voters.get(&id));
        let serves = self.pod(id).is_some_and(PodView::serves);
        voter.is_some_and(|voter| voter.caught_up) && serves
    }

    /// Whether the quorum keeps its majority while these brokers are down. A single voter cannot
    /// be spared and is all the same. `None` where the quorum is not known.
    pub(super) fn quorum_spares(&self, down: &[BrokerId]) -> Option<bool> {
        let quorum = self.quorum()?;
        let of_quorum = down.iter().any(|id| self.is_live_voter(*id));
        if !of_quorum || quorum.voters.len() == 1 {
            return Some(true);
        }
        let left = quorum.voters.keys().filter(|id| !down.contains(id));
        let left = left.filter(|id| self.is_live_voter(**id)).count();
        Some(left >= majority(quorum.voters.len()))
    }
}

impl PodView {
    /// Since when it is known to be as it is: the silence of its node tells nothing.
    pub(super) fn known_since_ms(&self) -> i64 {
        self.since_ms.max(self.node_since_ms)
    }

    /// Its process runs and is not being stopped.
    pub(super) fn serves(&self) -> bool {
        self.phase == crate::PodPhase::Running
    }

    /// What a process comes to that runs between two crashes.
    pub(super) fn crashes(&self) -> String {
        let text = "runs, but crashes again and again";
        self.problem.as_ref().map_or(text.into(), |problem| format!("{text}: {problem}"))
    }

    /// Why its process does not run.
    pub(super) fn trouble(&self) -> Option<String> {
        use crate::PodPhase::*;
        let text = match self.phase {
            Running => return None,
            Unschedulable => "cannot be scheduled",
            ImageError => "cannot start its container",
            CrashLoop => "crashes again and again",
            Creating => "is starting",
            Terminating if self.node_lost => "is on a node that is lost",
            Terminating => "is stopping",
        };
        Some(match &self.problem {
            Some(problem) => format!("{text}: {problem}"),
            None => text.to_owned(),
        })
    }
}

pub(super) fn majority(voters: usize) -> usize {
    voters / 2 + 1
}

/// `a-0, b-1 and 5 more partitions`, at most ten by name.
pub(super) fn listed(examples: &[String], count: u64) -> String {
    let named = &examples[..examples.len().min(10)];
    let rest = count.saturating_sub(named.len() as u64);
    match (named.is_empty(), rest) {
        (true, _) => format!("{count} partitions"),
        (false, 0) => named.join(", "),
        (false, rest) => format!("{} and {rest} more partitions", named.join(", ")),
    }
}

/// `broker 3` or `brokers 3, 4`.
pub(super) fn brokers<'a>(ids: impl IntoIterator<Item = &'a BrokerId>) -> String {
    let ids: Vec<String> = ids.into_iter().map(BrokerId::to_string).collect();
    match ids.as_slice() {
        [one] => format!("broker {one}"),
        many => format!("brokers {}", many.join(", ")),
    }
}
