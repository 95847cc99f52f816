//! Many topics in few requests.

use super::{TopicAction, TopicPlan};

/// The request that an action is part of, in the order in which they are sent.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum TopicActionKind {
    Delete,
    Create,
    AlterConfig,
    AddPartitions,
    Reassign,
}

impl TopicAction {
    pub fn kind(&self) -> TopicActionKind {
        match self {
            TopicAction::Delete => TopicActionKind::Delete,
            TopicAction::Create { .. } => TopicActionKind::Create,
            TopicAction::AlterConfig { .. } => TopicActionKind::AlterConfig,
            TopicAction::AddPartitions { .. } => TopicActionKind::AddPartitions,
            TopicAction::Reassign(_) => TopicActionKind::Reassign,
        }
    }
}

/// One request: actions of one kind, each with its topic.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Batch<'a> {
    pub kind: TopicActionKind,
    pub items: Vec<(&'a str, &'a TopicAction)>,
}

/// Requests of at most `max` topics each, for plans by topic name. A topic occurs once in each
/// kind, as in its plan.
pub fn batches<'a>(
    plans: impl IntoIterator<Item = (&'a str, &'a TopicPlan)>,
    max: usize,
) -> Vec<Batch<'a>> {
    let mut items: Vec<(&str, &TopicAction)> = plans
        .into_iter()
        .flat_map(|(topic, plan)| plan.actions.iter().map(move |action| (topic, action)))
        .collect();
    items.sort_by_key(|(_, action)| action.kind());
    let kinds = items.chunk_by(|(_, a), (_, b)| a.kind() == b.kind());
    let chunks = kinds.flat_map(|kind| kind.chunks(max.max(1)));
    chunks.map(|chunk| Batch { kind: chunk[0].1.kind(), items: chunk.to_vec() }).collect()
}
