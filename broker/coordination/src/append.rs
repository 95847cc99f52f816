//! From the appends that a shard asks for to batches: as many of a round as fit share one.

use coordinator::{AppendId, Shard};
use record::{BatchBuilder, BatchOptions};

/// Bytes at which a batch is closed. Far below `max.message.bytes`, so that only an append that is
/// too large by itself can be refused for its size.
const BATCH_BYTES: usize = 256 << 10;

/// Appends that reach the log together or not at all.
pub(super) struct Batch {
    pub(super) first: AppendId,
    pub(super) last: AppendId,
    pub(super) bytes: Vec<u8>,
}

/// Builds the batches of a round, in order. An append is never split. One that cannot be encoded
/// ends the list and is returned: it and all later ones have failed.
pub(super) fn batches<S: Shard>(
    appends: &[(AppendId, Vec<S::Record>)],
    now_ms: i64,
) -> (Vec<Batch>, Option<AppendId>) {
    let mut batches = Vec::new();
    let mut open: Option<(AppendId, AppendId, BatchBuilder)> = None;
    for (id, records) in appends {
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
        if let Some(full) = open.take_if(|(_, _, builder)| builder.size() + size > BATCH_BYTES) {
            batches.push(close(full));
        }
        let new = || (*id, *id, BatchBuilder::new(BatchOptions::default()));
        let (_, last, builder) = open.get_or_insert_with(new);
        *last = *id;
        for (key, value) in &encoded {
            builder.append(now_ms, Some(key), value.as_deref(), &[]);
        }
    }
    batches.extend(open.map(close));
    (batches, None)
}

fn close((first, last, builder): (AppendId, AppendId, BatchBuilder)) -> Batch {
    Batch { first, last, bytes: builder.finish() }
}

#[cfg(test)]
mod tests {
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
        assert!(batches.iter().all(|b| b.bytes.len() < BATCH_BYTES + 1000));
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
}
