//! The entities of one cluster that want a look. Each occurs once, however often it is asked for,
//! so that there are never more than there are entities. Changes go before the resync.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until, timeout};

/// How long a batch waits for company.
const LINGER: Duration = Duration::from_millis(100);

/// Names of entities in Kafka, to be looked at.
#[derive(Debug, Default)]
pub struct Queue {
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct State {
    urgent: Line,
    resync: Line,
    /// To become urgent at a time.
    later: BTreeSet<(Instant, String)>,
    due: HashMap<String, Instant>,
    closed: bool,
}

/// First in, first out, each once.
#[derive(Debug, Default)]
struct Line {
    order: VecDeque<String>,
    members: HashSet<String>,
}

impl Line {
    fn push(&mut self, name: String) {
        if self.members.insert(name.clone()) {
            self.order.push_back(name);
        }
    }

    fn pop(&mut self) -> Option<String> {
        let name = self.order.pop_front()?;
        self.members.remove(&name);
        Some(name)
    }
}

impl Queue {
    /// As soon as possible.
    pub fn push(&self, name: impl Into<String>) {
        self.state().urgent.push(name.into());
        self.changed.notify_one();
    }

    /// When nothing else is to be done.
    pub fn push_resync(&self, names: impl IntoIterator<Item = String>) {
        let mut state = self.state();
        names.into_iter().for_each(|name| state.resync.push(name));
        drop(state);
        self.changed.notify_one();
    }

    /// After a time, unless it is due earlier already.
    pub fn push_later(&self, name: impl Into<String>, delay: Duration) {
        let (name, at) = (name.into(), Instant::now() + delay);
        let mut state = self.state();
        match state.due.get(&name).copied() {
            Some(due) if due <= at => return,
            Some(due) => drop(state.later.remove(&(due, name.clone()))),
            None => {}
        }
        state.due.insert(name.clone(), at);
        state.later.insert((at, name));
        drop(state);
        self.changed.notify_one();
    }

    /// Nothing more will come, and what is there is dropped.
    pub fn close(&self) {
        let mut state = self.state();
        *state = State { closed: true, ..State::default() };
        drop(state);
        self.changed.notify_one();
    }

    /// Waits for the next batch: up to `max` names, gathered for a moment. `None` once closed.
    pub async fn batch(&self, max: usize) -> Option<Vec<String>> {
        loop {
            let next = {
                let mut state = self.state();
                if state.closed {
                    return None;
                }
                state.ripen();
                match state.waiting() {
                    0 => state.later.first().map(|(at, _)| *at),
                    _ => break,
                }
            };
            match next {
                None => self.changed.notified().await,
                Some(at) => tokio::select! {
                    () = self.changed.notified() => {}
                    () = sleep_until(at) => {}
                },
            }
        }
        // One that is full goes at once; the end of the time is no failure.
        let _ = timeout(LINGER, async {
            while self.state().waiting() < max && !self.state().closed {
                self.changed.notified().await;
            }
        })
        .await;
        let mut state = self.state();
        state.ripen();
        let mut batch = Vec::new();
        while batch.len() < max {
            let Some(name) = state.urgent.pop().or_else(|| state.resync.pop()) else { break };
            state.forget(&name);
            batch.push(name);
        }
        (!state.closed).then_some(batch)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // A panic elsewhere leaves the state whole: it is changed in single steps.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
impl Queue {
    /// Whether an entity is waiting, now or for its time.
    pub fn waiting_for(&self, name: &str) -> Option<()> {
        let state = self.state();
        let lines = [&state.urgent, &state.resync];
        let waits = lines.iter().any(|line| line.members.contains(name));
        (waits || state.due.contains_key(name)).then_some(())
    }
}

impl State {
    fn waiting(&self) -> usize {
        self.urgent.order.len() + self.resync.order.len()
    }

    /// What is due becomes urgent.
    fn ripen(&mut self) {
        let now = Instant::now();
        while let Some((at, _)) = self.later.first()
            && *at <= now
        {
            if let Some((_, name)) = self.later.pop_first() {
                self.due.remove(&name);
                self.urgent.push(name);
            }
        }
    }

    /// A look at it now is as good as one later.
    fn forget(&mut self, name: &str) {
        if let Some(at) = self.due.remove(name) {
            self.later.remove(&(at, name.to_owned()));
        }
    }
}

/// How often in a row each entity failed: the wait grows with it.
#[derive(Debug, Default)]
pub struct Backoff(BTreeMap<String, u32>);

/// Longest wait.
const WAIT_MAX: Duration = Duration::from_secs(60);

impl Backoff {
    /// One more failure: how many there were in a row, and how long to wait.
    pub fn failed(&mut self, name: &str) -> (u32, Duration) {
        let count = self.0.entry(name.to_owned()).or_default();
        *count = count.saturating_add(1);
        let wait = Duration::from_millis(500).saturating_mul(1 << (*count).min(8));
        (*count, wait.min(WAIT_MAX))
    }

    pub fn succeeded(&mut self, name: &str) {
        self.0.remove(name);
    }
}
