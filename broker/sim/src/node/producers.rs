//! What a replica's log knows of producers, compared with the batches that it has had. Where that
//! is less than Kafka's replicas know, a retry is taken for a first batch.

use std::collections::BTreeMap;

use base::Offset;

use crate::check::Property;
use crate::content::BatchId;
use crate::message::Tp;
use crate::world::World;

impl World {
    /// Whether the log knows the last batch of every producer.
    fn knows_producers(&self, n: usize, tp: Tp) -> bool {
        let Some(replica) = self.nodes[n].replicas.get(&tp) else { return true };
        let mut written = BTreeMap::new();
        for batch in self.disks[n].content[tp].iter().filter(|batch| batch.producer >= 0) {
            let last = batch.sequence + (batch.last - batch.base) as i32;
            written.insert(batch.producer, (batch.producer_epoch, last));
        }
        let known = replica.log.producers();
        let known: BTreeMap<_, _> =
            known.iter().map(|p| (p.producer_id, (p.producer_epoch, p.last_sequence))).collect();
        written == known
    }

    /// The log was opened, or began anew behind records that it never had: what is not known is
    /// forgotten, as with Kafka.
    pub(crate) fn may_forget_producers(&mut self, n: usize, tp: Tp) {
        if !self.knows_producers(n, tp) {
            self.checks.sequences.forgetful.insert(tp);
        }
    }

    /// The log was cut down to records that it had before: all is to be known of them. (Where the
    /// disk had no room for a snapshot of producers, it may not.)
    pub(crate) fn must_know_producers(&mut self, n: usize, tp: Tp, what: &str) {
        let may_lack_snapshots = self.disk_faults.every_ms > 0;
        if may_lack_snapshots || self.checks.sequences.forgetful.contains(&tp) {
            return self.may_forget_producers(n, tp);
        }
        if !self.knows_producers(n, tp) {
            let detail = format!("partition {tp} node {n} forgot producers: {what}");
            self.fail(Property::Sequence, detail);
        }
    }

    /// Whether a replica has, or had, all that is committed below `offset`.
    pub(crate) fn has_had(&self, n: usize, tp: Tp, offset: Offset) -> bool {
        let below = |batches: &[BatchId]| batches.partition_point(|batch| batch.last < offset);
        let (own, committed) = (&self.disks[n].content[tp], &self.checks.committed[tp]);
        own[..below(own)] == committed[..below(committed)]
            && own.iter().any(|batch| batch.last + 1 == offset)
    }
}
