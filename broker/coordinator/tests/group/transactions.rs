//! Offsets that are committed within transactions.

use std::collections::BTreeMap;

use base::{ErrorCode, TopicPartition};
use coordinator::*;

use crate::world::*;

const MINUTE_MS: i64 = 60_000;

fn in_transaction(producer_id: i64, commit: GroupRequest) -> GroupRequest {
    let GroupRequest::Commit(commit) = commit else { panic!("a commit") };
    let transaction = Transaction { producer_id, epoch: 0, guard: None };
    GroupRequest::CommitInTransaction(TransactionalCommit { transaction, commit })
}

fn end(producer_id: i64, commit: bool) -> GroupRequest {
    GroupRequest::EndTransaction(TransactionEnd {
        producer_id,
        epoch: 0,
        coordinator_epoch: 1,
        commit,
        transaction_version: 0,
    })
}

fn errors(w: &mut World, request: GroupRequest) -> Vec<ErrorCode> {
    match w.ask(request) {
        GroupReply::Commit(reply) => reply.errors,
        GroupReply::EndTransaction(error) => vec![error],
        other => panic!("{other:?}"),
    }
}

fn error(w: &mut World, request: GroupRequest) -> ErrorCode {
    errors(w, request)[0]
}

/// Offset or error of each partition that has one or the other.
fn told(w: &mut World, require_stable: bool) -> Vec<(i32, Result<i64, ErrorCode>)> {
    let topic = "t".into();
    let partitions = (0..4).collect();
    let topics = vec![FetchTopic { topic, topic_id: base::TopicId::ZERO, partitions }];
    let group = "g".into();
    let fetch = FetchOffsets {
        group,
        topics: Some(topics),
        member_id: None,
        member_epoch: -1,
        require_stable,
    };
    let GroupReply::Fetch(reply) = w.ask(GroupRequest::Fetch(fetch)) else { panic!("a fetch") };
    let told = reply.topics.into_iter().flat_map(|topic| topic.partitions).map(|p| {
        let result = if p.error.is_error() { Err(p.error) } else { Ok(p.offset) };
        (p.partition, result)
    });
    told.filter(|(_, result)| *result != Ok(-1)).collect()
}

fn replays(w: &World) {
    assert_eq!(w.replayed().persistent_view(), w.shard.persistent_view());
}

#[test]
fn offsets_of_a_transaction_show_once_it_is_committed() {
    let mut w = World::new();
    w.ask(simple_commit(0, 1));
    assert_eq!(error(&mut w, in_transaction(7, simple_commit(0, 5))), ErrorCode::None);
    assert_eq!(error(&mut w, in_transaction(8, simple_commit(1, 6))), ErrorCode::None);
    assert_eq!(told(&mut w, false), [(0, Ok(1))], "not yet");
    let unstable = Err(ErrorCode::UnstableOffsetCommit);
    assert_eq!(told(&mut w, true), [(0, unstable), (1, unstable)]);
    replays(&w);
    w.fail_over();
    assert_eq!(told(&mut w, true), [(0, unstable), (1, unstable)], "they pend after a load, too");
    assert_eq!(error(&mut w, end(7, true)), ErrorCode::None);
    assert_eq!(told(&mut w, true), [(0, Ok(5)), (1, unstable)]);
    assert_eq!(error(&mut w, end(8, false)), ErrorCode::None);
    assert_eq!(told(&mut w, true), [(0, Ok(5))]);
    assert_eq!(error(&mut w, end(8, true)), ErrorCode::None, "nothing is left of it");
    assert_eq!(told(&mut w, true), [(0, Ok(5))]);
    replays(&w);
}

#[test]
fn of_two_commits_the_later_counts() {
    let mut w = World::new();
    w.ask(in_transaction(7, simple_commit(0, 5)));
    w.ask(simple_commit(0, 3));
    w.ask(simple_commit(1, 3));
    w.ask(in_transaction(7, simple_commit(1, 5)));
    w.append_error = Some(ErrorCode::NotEnoughReplicas);
    // Neither of these is in the log, nor changes what counts.
    assert!(error(&mut w, simple_commit(0, 9)).is_error());
    assert!(error(&mut w, simple_commit(1, 9)).is_error());
    assert!(error(&mut w, end(7, true)).is_error());
    w.append_error = None;
    assert_eq!(told(&mut w, false), [(0, Ok(3)), (1, Ok(3))]);
    w.ask(end(7, true));
    assert_eq!(told(&mut w, true), [(0, Ok(3)), (1, Ok(5))]);
    replays(&w);
}

#[test]
fn who_may_commit_in_a_transaction() {
    let mut w = World::new();
    use ErrorCode::*;
    let stranger = Client { id: "m".into(), generation: 1, ..Client::new("x") };
    let ask = |w: &mut World, commit| error(w, in_transaction(7, commit));
    assert_eq!(ask(&mut w, stranger.commit(0, 1)), IllegalGeneration, "no such group");
    let mut a = Client::new("a");
    w.stabilise(&mut [&mut a]);
    assert_eq!(ask(&mut w, simple_commit(0, 2)), None, "producers of old say nothing of it");
    assert_eq!(ask(&mut w, stranger.commit(0, 2)), UnknownMemberId);
    assert_eq!(ask(&mut w, a.commit(0, 2)), None);
    let old = Client { generation: 0, ..a.clone() };
    assert_eq!(ask(&mut w, old.commit(0, 3)), IllegalGeneration);
    let other = Client { instance: Some("i".into()), ..a.clone() };
    assert_eq!(ask(&mut w, other.commit(0, 3)), UnknownMemberId);
    let mut b = Client::new("b");
    let joins = [w.send(b.join()), w.send(a.join())];
    b.joined(&w.take_join(joins[0]).unwrap());
    assert_eq!(ask(&mut w, b.commit(0, 3)), None, "a transaction goes on in a rebalance");
}

#[test]
fn nothing_expires_that_a_transaction_may_yet_commit() {
    let mut w = World::with(GroupConfig {
        offsets_retention_ms: 60 * MINUTE_MS,
        ..GroupConfig::kafka_defaults()
    });
    w.ask(simple_commit(0, 1));
    w.ask(simple_commit(1, 1));
    w.ask(in_transaction(7, simple_commit(0, 5)));
    w.advance(100 * MINUTE_MS);
    assert_eq!(told(&mut w, false), [(0, Ok(1))]);
    w.ask(end(7, false));
    w.advance(20 * MINUTE_MS);
    assert_eq!(told(&mut w, false), []);
    assert_eq!(w.shard.persistent_view(), []);
    replays(&w);
}

#[test]
fn what_is_deleted_is_not_committed_afterwards() {
    let mut w = World::new();
    w.ask(in_transaction(7, simple_commit(0, 5)));
    w.ask(in_transaction(7, simple_commit(1, 5)));
    let group = "g".into();
    let partitions = vec![TopicPartition::new("t", 0)];
    w.ask(GroupRequest::DeleteOffsets(DeleteOffsets { group, partitions }));
    replays(&w);
    w.ask(end(7, true));
    assert_eq!(told(&mut w, true), [(1, Ok(5))]);
    w.ask(in_transaction(8, simple_commit(2, 5)));
    w.ask(GroupRequest::DeleteGroup("g".into()));
    w.ask(end(8, true));
    assert_eq!(w.shard.persistent_view(), []);
    replays(&w);
}

/// What commits, ends, deletions, failed appends and failovers lead to, by their order alone.
#[derive(Default)]
struct Model {
    order: u64,
    committed: BTreeMap<i32, (u64, i64)>,
    pending: BTreeMap<i64, BTreeMap<i32, (u64, i64)>>,
}

impl Model {
    fn end(&mut self, producer: i64, commit: bool) {
        for (partition, value) in self.pending.remove(&producer).unwrap_or_default() {
            let known = self.committed.get(&partition);
            if commit && known.is_none_or(|known| known.0 < value.0) {
                self.committed.insert(partition, value);
            }
        }
    }

    fn delete(&mut self, partition: i32) {
        self.committed.remove(&partition);
        for pending in self.pending.values_mut() {
            pending.remove(&partition);
        }
    }

    fn told(&self) -> Vec<(i32, Result<i64, ErrorCode>)> {
        let told = (0..4).filter_map(|partition| {
            let is_pending = self.pending.values().any(|p| p.contains_key(&partition));
            if is_pending {
                return Some((partition, Err(ErrorCode::UnstableOffsetCommit)));
            }
            Some((partition, Ok(self.committed.get(&partition)?.1)))
        });
        told.collect()
    }
}

#[test]
fn any_order_of_commits_and_ends_leads_to_what_its_model_says() {
    for seed in 1..=300u64 {
        let mut rng = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        let mut below = |limit: u64| {
            rng ^= rng << 13;
            rng ^= rng >> 7;
            rng ^= rng << 17;
            rng % limit
        };
        let (mut w, mut model) = (World::new(), Model::default());
        for step in 0..60 {
            let (partition, producer) = (below(4) as i32, below(3) as i64);
            let fails = below(4) == 0;
            w.append_error = fails.then_some(ErrorCode::NotEnoughReplicas);
            model.order += 1;
            let value = (model.order, step);
            match below(10) {
                0..3 => {
                    w.ask(simple_commit(partition, step));
                    if !fails {
                        model.committed.insert(partition, value);
                    }
                }
                3..6 => {
                    w.ask(in_transaction(producer, simple_commit(partition, step)));
                    if !fails {
                        model.pending.entry(producer).or_default().insert(partition, value);
                    }
                }
                6..8 => {
                    let commit = below(2) == 0;
                    w.ask(end(producer, commit));
                    if !fails {
                        model.end(producer, commit);
                    }
                }
                8 => {
                    let partitions = vec![TopicPartition::new("t", partition)];
                    let group = "g".into();
                    w.ask(GroupRequest::DeleteOffsets(DeleteOffsets { group, partitions }));
                    if !fails {
                        model.delete(partition);
                    }
                }
                _ => w.fail_over(),
            }
            w.append_error = None;
            assert_eq!(told(&mut w, true), model.told(), "seed {seed}, step {step}");
            assert_eq!(
                w.replayed().persistent_view(),
                w.shard.persistent_view(),
                "seed {seed}, step {step}"
            );
        }
    }
}
