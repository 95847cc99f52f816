//! Random producers, clocks, failing appends and failovers. After every step: the committed log
//! says what the shard says, each id's records follow upon each other, an answer is in the
//! committed log, and a fenced producer succeeds with nothing. At the end nothing stays decided.

use std::collections::BTreeMap;

use base::ErrorCode;
use coordinator::Ticket;
use coordinator::txn::*;
use proptest::prelude::*;

use crate::world::*;

const IDS: [&str; 3] = ["new", "last", "old"];

#[derive(Clone, Debug)]
enum Step {
    Init {
        id: usize,
        goes_on: bool,
    },
    Add {
        id: usize,
        producer: usize,
        version: i16,
        partition: i32,
    },
    End {
        id: usize,
        producer: usize,
        version: i16,
        is_commit: bool,
    },
    Verify {
        id: usize,
        producer: usize,
    },
    /// One of the open errands is done; its report may come twice.
    Written {
        errand: usize,
        twice: bool,
    },
    BringProducerIds,
    Advance(i64),
    HoldCommits(bool),
    CommitAll,
    FailAppends(bool),
    FailOver {
        loses_uncommitted: bool,
    },
}

/// `producer` counts from the newest back: mostly the owner asks, sometimes a zombie.
fn step() -> impl Strategy<Value = Step> {
    let id = 0..IDS.len();
    let producer = prop_oneof![6 => Just(0usize), 2 => Just(1), 1 => 0usize..4];
    let version = prop_oneof![Just(0i16), Just(2)];
    let add = (id.clone(), producer.clone(), version.clone(), 0..4i32);
    let end = (id.clone(), producer.clone(), version, any::<bool>());
    prop_oneof![
        3 => (id.clone(), any::<bool>()).prop_map(|(id, goes_on)| Step::Init { id, goes_on }),
        8 => add.prop_map(|(id, producer, version, partition)| {
            Step::Add { id, producer, version, partition }
        }),
        8 => end.prop_map(|(id, producer, version, is_commit)| {
            Step::End { id, producer, version, is_commit }
        }),
        1 => (id, producer).prop_map(|(id, producer)| Step::Verify { id, producer }),
        8 => (0..4usize, any::<bool>()).prop_map(|(errand, twice)| Step::Written { errand, twice }),
        1 => Just(Step::BringProducerIds),
        2 => prop_oneof![Just(50i64), Just(31_000), Just(75_000)].prop_map(Step::Advance),
        1 => any::<bool>().prop_map(Step::HoldCommits),
        3 => Just(Step::CommitAll),
        1 => prop_oneof![3 => Just(false), 1 => Just(true)].prop_map(Step::FailAppends),
        1 => any::<bool>().prop_map(|loses| Step::FailOver { loses_uncommitted: loses }),
    ]
}

/// What a client asked for.
struct Asked {
    id: usize,
    by: Option<Producer>,
    what: What,
}

enum What {
    Init,
    Add(i32),
    End { is_commit: bool },
    Verify,
}

#[derive(Default)]
struct Client {
    /// All producers that were given out for the id, the newest last.
    given: Vec<Producer>,
    /// So many of them are fenced by a later start.
    fenced: usize,
    /// Partitions whose addition was answered, since the last end.
    added: Vec<i32>,
}

struct Run {
    world: World,
    clients: Vec<Client>,
    asked: BTreeMap<Ticket, Asked>,
    /// Reports that were made already.
    reported: Vec<(TransactionalId, u64)>,
    checked: usize,
}

impl Run {
    fn new() -> Run {
        let last = Producer { id: 8, epoch: i16::MAX - 3 };
        let old = Producer { id: 9, epoch: 3 };
        let log = vec![("last", committed(last)), ("old", committed(old))];
        let given = [vec![], vec![last], vec![old]];
        Run {
            world: World::with_log(log),
            clients: given.map(|given| Client { given, ..Client::default() }).into(),
            asked: BTreeMap::new(),
            reported: Vec::new(),
            checked: 0,
        }
    }

    fn producer(&self, id: usize, back: usize) -> Option<Producer> {
        let given = &self.clients[id].given;
        given.get(given.len().checked_sub(1 + back)?).copied()
    }

    fn send(&mut self, request: TxnRequest, asked: Asked) {
        let ticket = self.world.send(request);
        self.asked.insert(ticket, asked);
    }

    fn perform(&mut self, step: &Step) {
        match *step {
            Step::Init { id, goes_on } => {
                let by = self.producer(id, 0).filter(|_| goes_on);
                self.send(init(IDS[id], by), Asked { id, by, what: What::Init });
            }
            Step::Add { id, producer, version, partition } => {
                let Some(by) = self.producer(id, producer) else { return };
                let asked = Asked { id, by: Some(by), what: What::Add(partition) };
                self.send(add(IDS[id], by, version, partition), asked);
            }
            Step::End { id, producer, version, is_commit } => {
                let Some(by) = self.producer(id, producer) else { return };
                let asked = Asked { id, by: Some(by), what: What::End { is_commit } };
                self.send(end(IDS[id], by, version, is_commit), asked);
            }
            Step::Verify { id, producer } => {
                let Some(by) = self.producer(id, producer) else { return };
                let TxnRequest::Verify(request) = verify(by, &[1]) else { unreachable!() };
                let request = VerifyPartitions { id: IDS[id].into(), ..request };
                let asked = Asked { id, by: Some(by), what: What::Verify };
                self.send(TxnRequest::Verify(request), asked);
            }
            Step::Written { errand, twice } => self.written(errand, twice),
            Step::BringProducerIds => {
                while !self.world.aborts.is_empty() {
                    self.world.bring_producer_id();
                }
            }
            Step::Advance(ms) => self.world.advance(ms),
            Step::HoldCommits(hold) => self.world.auto_commit = !hold,
            Step::CommitAll => self.world.commit_all(),
            Step::FailAppends(fail) => {
                self.world.append_error = fail.then_some(ErrorCode::NotEnoughReplicas);
            }
            Step::FailOver { loses_uncommitted } => {
                if loses_uncommitted {
                    self.world.log.truncate(self.world.committed);
                }
                self.reported.clear();
                self.world.fail_over();
            }
        }
    }

    fn written(&mut self, errand: usize, twice: bool) {
        if let Some((id, number)) = self.reported.last().cloned().filter(|_| twice) {
            self.world.ask(TxnRequest::MarkersWritten { id, number });
        }
        if errand < self.world.markers.len() {
            self.world.markers.swap(0, errand);
            let markers = self.world.write_markers();
            self.reported.push((markers.id, markers.number));
        }
    }

    /// An errand is of what the committed log decided, with all that was added.
    fn check_errands(&self) {
        for markers in &self.world.markers {
            let value = self.world.state(&markers.id).unwrap();
            assert!(value.state.is_prepared(), "markers of {value:?}");
            assert_eq!(markers.is_commit, value.state == TxnState::PrepareCommit);
            assert_eq!(markers.producer.epoch, value.producer_epoch);
            assert_eq!(markers.partitions, value.partitions);
        }
    }

    fn take_replies(&mut self) {
        for (ticket, reply) in std::mem::take(&mut self.world.replies) {
            let Some(asked) = self.asked.remove(&ticket) else { continue };
            let Asked { id, by, what } = asked;
            match (what, reply) {
                (What::Init, TxnReply::Init(Ok(producer))) => self.started(id, producer),
                (What::Add(partition), TxnReply::Add(ErrorCode::None)) => {
                    self.check_owner(id, by);
                    self.clients[id].added.push(partition);
                }
                (What::Verify, TxnReply::Verify(Ok(_))) => self.check_owner(id, by),
                (What::End { is_commit }, TxnReply::End(Ok(next))) => {
                    self.ended(id, by.unwrap(), is_commit, next);
                }
                _ => {}
            }
        }
    }

    fn started(&mut self, id: usize, producer: Producer) {
        let client = &mut self.clients[id];
        let at = client.given.iter().position(|given| *given == producer);
        // A repetition gets the same producer again, unless somebody else has started.
        assert!(at.is_none_or(|at| at + 1 == client.given.len()), "{producer:?} is given again");
        if at.is_none() {
            client.given.push(producer);
            client.added.clear();
        }
        client.fenced = client.given.len() - 1;
    }

    /// The request succeeded: whoever sent it must not be fenced.
    fn check_owner(&self, id: usize, by: Option<Producer>) {
        let client = &self.clients[id];
        let fenced = &client.given[..client.fenced];
        assert!(!fenced.contains(&by.unwrap()), "{by:?} of {} is fenced", IDS[id]);
    }

    fn ended(&mut self, id: usize, by: Producer, is_commit: bool, next: Producer) {
        self.check_owner(id, Some(by));
        let decided = match is_commit {
            true => [TxnState::PrepareCommit, TxnState::CompleteCommit],
            false => [TxnState::PrepareAbort, TxnState::CompleteAbort],
        };
        let committed = self.world.log[..self.world.committed].iter();
        let mut of_id = committed.filter(|(_, record)| *record.id == *IDS[id]);
        let is_of = |value: &Transaction| {
            let raised = by.epoch.checked_add(1) == Some(value.producer_epoch);
            value.producer_id == by.id && (value.producer_epoch == by.epoch || raised)
        };
        let is_decided = of_id.any(|(_, record)| {
            record.value.as_ref().is_some_and(|v| decided.contains(&v.state) && is_of(v))
        });
        assert!(is_decided, "an answered end is not in the log");
        let client = &mut self.clients[id];
        if !client.given.contains(&next) {
            client.given.push(next);
        }
    }

    /// Records of an id follow upon each other, and the shard says what they say.
    fn check_log(&mut self) {
        let committed = &self.world.log[..self.world.committed];
        let mut last: BTreeMap<&str, &Transaction> = BTreeMap::new();
        for (at, (_, record)) in committed.iter().enumerate() {
            let Some(value) = &record.value else {
                last.remove(&*record.id);
                continue;
            };
            let before = last.insert(&record.id, value);
            if at >= self.checked
                && let Some(before) = before
            {
                check_follows(before, value);
            }
        }
        self.checked = committed.len();
        let known: BTreeMap<&str, &Transaction> =
            self.world.shard.transactions().map(|(id, value)| (&**id, value)).collect();
        assert_eq!(known, last, "the shard is not its committed log");
        let replayed = self.world.replayed();
        assert!(replayed.transactions().eq(self.world.shard.transactions()), "replay differs");
    }

    /// The disks work again: everything that is decided completes.
    fn settle(&mut self) {
        self.world.append_error = None;
        self.world.auto_commit = true;
        self.world.commit_all();
        for _ in 0..4 {
            while !self.world.markers.is_empty() {
                self.world.write_markers();
            }
            self.world.advance(self.world.config.append_timeout_ms);
        }
        self.take_replies();
        self.check_log();
        assert_eq!(self.world.unanswered(), 0, "everybody is answered");
        for (id, value) in self.world.shard.transactions() {
            assert!(!value.state.is_prepared(), "{id} stays {value:?}");
        }
    }
}

fn check_follows(before: &Transaction, value: &Transaction) {
    use TxnState::*;
    let allowed = match before.state {
        Empty => matches!(value.state, Empty | Ongoing | PrepareAbort),
        Ongoing => matches!(value.state, Ongoing | PrepareCommit | PrepareAbort),
        PrepareCommit => value.state == CompleteCommit,
        PrepareAbort => value.state == CompleteAbort,
        CompleteCommit | CompleteAbort => matches!(value.state, Empty | Ongoing | PrepareAbort),
    };
    assert!(allowed, "{before:?} is followed by {value:?}");
    let order = |t: &Transaction| (t.producer_id, t.producer_epoch);
    let same_id = before.producer_id == value.producer_id;
    assert!(!same_id || order(before) <= order(value), "an epoch goes back: {before:?}, {value:?}");
    if before.state == Ongoing {
        let kept = before.partitions.iter().all(|(topic, indexes)| {
            value.partitions.get(topic).is_some_and(|now| indexes.is_subset(now))
        });
        assert!(kept, "partitions of an open transaction are lost: {before:?}, {value:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn no_answer_is_taken_back_and_no_fenced_producer_succeeds(
        steps in prop::collection::vec(step(), 1..120),
    ) {
        let mut run = Run::new();
        for step in &steps {
            run.perform(step);
            run.check_errands();
            run.take_replies();
            run.check_log();
        }
        run.settle();
    }
}
