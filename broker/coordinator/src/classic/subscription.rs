//! Which topics a consumer group reads: the one look into a member's metadata, needed to keep the
//! offsets of topics in use from expiring. The head of Kafka's consumer protocol is the same in all
//! its versions: version, then the list of topics.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::ClassicGroup;

/// `protocol.type` of consumers, the only one whose metadata is understood.
pub(crate) const CONSUMER: &str = "consumer";

impl ClassicGroup {
    /// Recomputes the topics of the chosen generation.
    pub(super) fn update_subscribed(&mut self) {
        self.subscribed = self.compute_subscribed();
    }

    fn compute_subscribed(&self) -> Option<BTreeSet<Arc<str>>> {
        if self.protocol_type.as_deref() != Some(CONSUMER) {
            return None;
        }
        let protocol = self.protocol_name.as_deref().unwrap_or("");
        let mut topics = BTreeSet::new();
        for member in self.members.values() {
            for topic in parse_topics(&member.metadata(protocol))? {
                topics.insert(topic.into());
            }
        }
        Some(topics)
    }

    /// Whether a member may be reading the topic; unknown counts as yes.
    pub(crate) fn is_subscribed(&self, topic: &str) -> bool {
        self.subscribed.as_ref().is_none_or(|topics| topics.contains(topic))
    }

    pub(super) fn knows_topics(&self) -> bool {
        self.subscribed.is_some()
    }

    /// Whether the members' protocol tells of topics.
    pub(crate) fn knows_subscriptions(&self) -> bool {
        self.protocol_type.as_deref() == Some(CONSUMER)
    }
}

/// The topics of a `ConsumerProtocolSubscription`, `None` if it is not one.
fn parse_topics(metadata: &[u8]) -> Option<Vec<&str>> {
    let (version, mut rest) = metadata.split_first_chunk::<2>()?;
    if i16::from_be_bytes(*version) < 0 {
        return None;
    }
    let count;
    (count, rest) = rest.split_first_chunk::<4>()?;
    let count = u32::from_be_bytes(*count) as usize;
    let mut topics = Vec::new();
    for _ in 0..count {
        let length;
        (length, rest) = rest.split_first_chunk::<2>()?;
        let length = usize::from(u16::from_be_bytes(*length));
        let topic;
        (topic, rest) = rest.split_at_checked(length)?;
        topics.push(std::str::from_utf8(topic).ok()?);
    }
    Some(topics)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topics_are_read_from_the_head_and_junk_is_refused() {
        let good = b"\0\x01\0\0\0\x02\0\x01a\0\x02bc\xff\xff\xff\xff";
        assert_eq!(parse_topics(good), Some(vec!["a", "bc"]));
        assert_eq!(parse_topics(b"\0\0\0\0\0\0"), Some(vec![]));
        let junk: [&[u8]; 5] =
            [b"", b"\0", b"\0\0\xff\xff\xff\xff", b"\0\0\0\0\0\x01\0\x09a", b"\xff\xff\0\0\0\0"];
        for bytes in junk {
            assert_eq!(parse_topics(bytes), None, "{bytes:?}");
        }
    }
}
