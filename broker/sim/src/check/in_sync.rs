//! What the committed metadata says of a partition is true of the logs: the ISR is a subset of the
//! replicas and each member has everything committed. A member that lost its disk's tail is
//! excepted until its new incarnation is registered: then it must be out.

use std::collections::BTreeSet;

use base::BrokerId;

use super::{Check, Checks, Property, violated};
use crate::content::BatchId;
use crate::message::Tp;

impl Checks {
    pub fn in_sync<'a>(
        &self,
        tp: Tp,
        partition: &metadata::Partition,
        lossy: &BTreeSet<BrokerId>,
        content_of: impl Fn(BrokerId) -> &'a [BatchId],
    ) -> Check {
        let committed = &self.committed[tp];
        for &member in &partition.isr {
            if !partition.replicas.contains(&member) {
                let detail = format!("partition {tp}: {member} of {:?}", partition.isr);
                return violated(Property::InSync, detail);
            }
            let content = content_of(member);
            let has_all = match committed.last() {
                // By log matching the last batch stands for all before it.
                Some(last) => content.get(committed.len() - 1) == Some(last),
                None => true,
            };
            if !has_all && !lossy.contains(&member) {
                return violated(
                    Property::InSync,
                    format!(
                        "partition {tp}: ISR {:?} (epoch {}, partition epoch {}) but {member} \
                         ends with {:?}, committed {:?}",
                        partition.isr,
                        partition.leader_epoch,
                        partition.partition_epoch,
                        content.last().map(BatchId::text),
                        committed.last().map(BatchId::text),
                    ),
                );
            }
        }
        Ok(())
    }
}
