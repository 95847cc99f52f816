//! From the appends that a shard asks for to batches: as many of a round as fit share one. What is
//! written in a transaction has a batch of its own, and the end of one is a marker.

use commitlog::{TransactionMarker, VerificationGuard};
use coordinator::{AppendId, Shard, Transaction, TransactionEnd};
use record::{BatchBuilder, BatchOptions};

/// Bytes at which a batch is closed. Far below `max.message.bytes`, so that only an append that is
/// too large by itself can be refused for its size.
const BATCH_BYTES: usize = 256 << 10;

/// Appends that reach the log together or not at all.
pub(super) struct Batch {
    pub(super) first: AppendId,
    pub(super) last: AppendId,
    pub(super) content: Content,
}

pub(super) enum Content {
    Records { bytes: Vec<u8>, guard: Option<VerificationGuard> },
    Marker(TransactionMarker),
}

/// Builds the batches of a round, in order. An append is never split. One that cannot be encoded
/// ends the list and is returned: it and all later ones have failed.
pub(super) fn batches<S: Shard>(
    appends: &[(AppendId, Vec<S::Record>)],
    now_ms: i64,
) -> (Vec<Batch>, Option<AppendId>) {
    let mut batches = Vec::new();
    let mut open: Option<Open> = None;
    for (id, records) in appends {
        if let Some(end) = records.iter().find_map(S::transaction_end) {
            batches.extend(open.take().map(close));
            let content = Content::Marker(marker(&end));
            batches.push(Batch { first: *id, last: *id, content });
            continue;
        }
        let transaction = records.iter().find_map(S::transaction);
        let encoded: Result<Vec<_>, _> = records.iter().map(S::encode).collect();
        let encoded = match encoded {
            Ok(encoded) => encoded,
            Err(error) => {
                tracing::error!(%error, "encode a record of {}", S::TOPIC);
                batches.extend(open.map(close));
                return (batches, Some(*id));
            }
        };
        let size: usize =
            encoded.iter().map(|(k, v)| k.len() + v.as_ref().map_or(0, |v| v.len())).sum();
        let is_apart = |open: &Open| transaction.is_some() || open.transaction.is_some();
        let is_full = |open: &Open| open.builder.size() + size > BATCH_BYTES;
        if let Some(done) = open.take_if(|open| is_apart(open) || is_full(open)) {
            batches.push(close(done));
        }
        let Open { last, builder, .. } = open.get_or_insert_with(|| Open::new(*id, transaction));
        *last = *id;
        for (key, value) in &encoded {
            builder.append(now_ms, Some(key), value.as_deref(), &[]);
        }
    }
    batches.extend(open.map(close));
    (batches, None)
}

/// A batch that more may be added to.
struct Open {
    first: AppendId,
    last: AppendId,
    transaction: Option<Transaction>,
    builder: BatchBuilder,
}

impl Open {
    fn new(id: AppendId, transaction: Option<Transaction>) -> Open {
        let options = match transaction {
            Some(transaction) => BatchOptions {
                producer_id: transaction.producer_id,
                producer_epoch: transaction.epoch,
                // As Kafka's coordinators write it, who count nothing.
                base_sequence: 0,
                transactional: true,
                ..BatchOptions::default()
            },
            None => BatchOptions::default(),
        };
        Open { first: id, last: id, transaction, builder: BatchBuilder::new(options) }
    }
}

fn close(open: Open) -> Batch {
    let guard = open.transaction.and_then(|transaction| transaction.guard);
    let guard = guard.map(VerificationGuard::from_number);
    let content = Content::Records { bytes: open.builder.finish(), guard };
    Batch { first: open.first, last: open.last, content }
}

fn marker(end: &TransactionEnd) -> TransactionMarker {
    TransactionMarker {
        producer_id: end.producer_id,
        producer_epoch: end.epoch,
        coordinator_epoch: end.coordinator_epoch,
        commit: end.commit,
        transaction_version: end.transaction_version,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use coordinator::{GroupRecord, GroupShard};

    use super::*;

    fn tombstone(group: &str) -> GroupRecord {
        GroupRecord::Group { group: group.into(), value: None }
    }

    #[test]
    fn appends_share_batches_up_to_a_size() {
        let long = "x".repeat(30_000);
        let appends: Vec<_> = (1..=20).map(|i| (AppendId(i), vec![tombstone(&long)])).collect();
        let (batches, failed) = batches::<GroupShard>(&appends, 0);
        assert_eq!(failed, None);
        let spans: Vec<_> = batches.iter().map(|b| (b.first.0, b.last.0)).collect();
        assert_eq!(spans, [(1, 8), (9, 16), (17, 20)]);
        let is_small = |b: &Batch| match &b.content {
            Content::Records { bytes, .. } => bytes.len() < BATCH_BYTES + 1000,
            Content::Marker(_) => false,
        };
        assert!(batches.iter().all(is_small));
    }

    #[test]
    fn what_cannot_be_encoded_fails_with_all_after_it() {
        let appends = [
            (AppendId(1), vec![tombstone("a")]),
            (AppendId(2), vec![tombstone(&"x".repeat(40_000))]),
            (AppendId(3), vec![tombstone("b")]),
        ];
        let (batches, failed) = batches::<GroupShard>(&appends, 0);
        let spans: Vec<_> = batches.iter().map(|b| (b.first.0, b.last.0)).collect();
        assert_eq!((spans, failed), (vec![(1, 1)], Some(AppendId(2))));
    }

    #[test]
    fn transactions_have_batches_of_their_own() {
        let transaction = Transaction { producer_id: 9, epoch: 3, guard: Some(5) };
        let pending = || GroupRecord::PendingOffset {
            transaction,
            group: "g".into(),
            topic: "t".into(),
            partition: 0,
            value: None,
        };
        let end = TransactionEnd {
            producer_id: 9,
            epoch: 3,
            coordinator_epoch: 7,
            commit: true,
            transaction_version: 0,
        };
        let appends = [
            (AppendId(1), vec![tombstone("a")]),
            (AppendId(2), vec![pending()]),
            (AppendId(3), vec![pending()]),
            (AppendId(4), vec![GroupRecord::TransactionEnd(end)]),
            (AppendId(5), vec![tombstone("b")]),
            (AppendId(6), vec![tombstone("c")]),
        ];
        let (batches, failed) = batches::<GroupShard>(&appends, 0);
        let told = batches.iter().map(|batch| {
            let kind = match &batch.content {
                Content::Marker(marker) => (marker.producer_id, false, None),
                Content::Records { bytes, guard } => {
                    let header = record::BatchHeader::parse(bytes).unwrap();
                    (header.producer_id, header.is_transactional(), *guard)
                }
            };
            (batch.first.0, batch.last.0, kind)
        });
        let guard = Some(VerificationGuard::from_number(5));
        let expected = [
            (1, 1, (-1, false, None)),
            (2, 2, (9, true, guard)),
            (3, 3, (9, true, guard)),
            (4, 4, (9, false, None)),
            (5, 6, (-1, false, None)),
        ];
        assert_eq!((told.collect::<Vec<_>>(), failed), (expected.to_vec(), None));
    }
}
