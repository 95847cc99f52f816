//! What OffsetCommit and TxnOffsetCommit share: offsets of partitions that do not exist are refused
//! here, one by one, and the coordinator's answers are put where they are missing.

use std::sync::Arc;

use base::{ErrorCode, Offset, TopicId};
use coordinator::OffsetToCommit;
use metadata::{Image, Topic};
use wire::Str;

/// Stands in a response for a partition whose answer the coordinator gives.
const UNANSWERED: i16 = i16::MIN;

/// A topic of a request, and what is told of partitions that it does not have.
pub(super) struct AskedTopic<'a> {
    topic: Option<&'a Arc<Topic>>,
    id: TopicId,
    unknown: ErrorCode,
}

impl<'a> AskedTopic<'a> {
    /// The newer versions name topics by id; the older ones mean whatever topic has the name.
    /// Of a topic that the client may not read, nothing else is told.
    pub(super) fn of(
        image: &'a Image,
        by_id: bool,
        name: &str,
        id: TopicId,
        may_read: &dyn Fn(&str) -> bool,
    ) -> AskedTopic<'a> {
        let topic = match by_id {
            true => image.topic_by_id(id),
            false => image.topic(name),
        };
        let asked_name = if by_id { topic.map(|topic| &*topic.name) } else { Some(name) };
        let denied = asked_name.is_some_and(|name| !may_read(name));
        let unknown = match by_id && topic.is_none() {
            _ if denied => ErrorCode::TopicAuthorizationFailed,
            true => ErrorCode::UnknownTopicId,
            false => ErrorCode::UnknownTopicOrPartition,
        };
        let topic = topic.filter(|_| !denied);
        AskedTopic { topic, id: if by_id { id } else { TopicId::ZERO }, unknown }
    }

    /// Puts aside what can be committed; returns the partition's error code for now.
    pub(super) fn put(
        &self,
        offsets: &mut Vec<OffsetToCommit>,
        partition: i32,
        (offset, leader_epoch): (Offset, i32),
        metadata: Option<Str>,
    ) -> i16 {
        let Some(topic) = self.topic.filter(|topic| topic.partition(partition).is_some()) else {
            return self.unknown.code();
        };
        offsets.push(OffsetToCommit {
            topic: topic.name.clone(),
            topic_id: self.id,
            partition,
            offset,
            leader_epoch,
            metadata: metadata.unwrap_or_default().into_arc(),
        });
        UNANSWERED
    }
}

/// Puts the coordinator's answers, which come in order, where they are missing.
pub(super) fn fill_in<'a>(
    codes: impl Iterator<Item = &'a mut i16>,
    errors: impl IntoIterator<Item = ErrorCode>,
) {
    let mut errors = errors.into_iter();
    for code in codes.filter(|code| **code == UNANSWERED) {
        *code = errors.next().unwrap_or(ErrorCode::UnknownServerError).code();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_fill_the_gaps_in_order() {
        let mut topics = [vec![UNANSWERED, 3], vec![UNANSWERED]];
        let errors = vec![ErrorCode::None, ErrorCode::IllegalGeneration];
        fill_in(topics.iter_mut().flatten(), errors);
        assert_eq!(topics.concat(), [0, 3, 22]);
    }
}
