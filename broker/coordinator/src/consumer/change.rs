//! What one event changes of a group: records that are applied as they are made, and those that
//! take them back if the append fails.

use super::ConsumerGroup;
use super::value::ConsumerRecord;
use crate::group::Cx;
use crate::pending::Outcome;
use crate::{GroupRecord, GroupReply, Ticket};

/// Records of one append.
#[derive(Debug, Default)]
pub(crate) struct Change {
    pub(super) records: Vec<GroupRecord>,
    undo: Vec<GroupRecord>,
}

impl Change {
    /// Begins with records that others have applied.
    pub(crate) fn after(records: Vec<GroupRecord>, undo: Vec<GroupRecord>) -> Change {
        Change { records, undo }
    }
}

impl ConsumerGroup {
    pub(crate) fn change(&mut self, change: &mut Change, record: ConsumerRecord) {
        let undo = self.apply(record.clone());
        change.records.push(GroupRecord::Consumer { group: self.id.clone(), record });
        change.undo.push(GroupRecord::Consumer { group: self.id.clone(), record: undo });
    }

    /// Appends the change, and replies once it, and all before it, is committed.
    pub(crate) fn append(
        &mut self,
        cx: &mut Cx<'_>,
        mut change: Change,
        reply: Option<(Ticket, GroupReply)>,
    ) {
        if change.records.is_empty() {
            if let Some((ticket, reply)) = reply {
                cx.reply_after(self.last_append, ticket, reply);
            }
            return;
        }
        change.undo.reverse();
        self.last_append = cx.append(change.records, change.undo, Outcome::Records, reply);
    }
}
