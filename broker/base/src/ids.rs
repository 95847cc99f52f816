//! Identifiers of brokers and topics.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// `node.id` of a broker: 0 to 2^31-1. -1 stands for "no broker" on the wire only.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct BrokerId(pub i32);

impl fmt::Display for BrokerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A topic's UUID, unique per incarnation of the topic (KIP-516). Printed as Kafka prints it:
/// 22 characters of URL-safe base64 without padding.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct TopicId(pub [u8; 16]);

impl TopicId {
    /// "No topic": what a request or response carries where the id is unknown.
    pub const ZERO: TopicId = TopicId([0; 16]);

    /// An id of 128 random bits. Its text never starts with `-`, which command lines would take for
    /// an option, and it is none of the ids that Kafka reserves (0 and 1).
    pub fn from_random(bits: u128) -> TopicId {
        // The first base64 digit is the top six bits, and `-` is 62.
        let unfit = bits >> 122 == 62 || bits <= 1;
        TopicId((bits ^ u128::from(unfit) << 127).to_be_bytes())
    }

    pub fn is_zero(&self) -> bool {
        *self == TopicId::ZERO
    }
}

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
const TEXT_LEN: usize = 22;

impl fmt::Display for TopicId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = [0u8; TEXT_LEN];
        let value = u128::from_be_bytes(self.0);
        for (i, c) in text.iter_mut().enumerate() {
            // 22 characters hold 132 bits: the last one carries two bits and four zero bits.
            let shift = 122 - 6 * i as i32;
            let bits = if shift >= 0 { value >> shift } else { value << -shift };
            *c = ALPHABET[(bits & 63) as usize];
        }
        f.write_str(std::str::from_utf8(&text).map_err(|_| fmt::Error)?)
    }
}

impl fmt::Debug for TopicId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The text is not 22 characters of URL-safe base64 that encode 16 bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ParseTopicIdError;

impl fmt::Display for ParseTopicIdError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a topic id is 22 characters of URL-safe base64")
    }
}

impl std::error::Error for ParseTopicIdError {}

impl FromStr for TopicId {
    type Err = ParseTopicIdError;

    fn from_str(text: &str) -> Result<TopicId, ParseTopicIdError> {
        if text.len() != TEXT_LEN {
            return Err(ParseTopicIdError);
        }
        let mut value: u128 = 0;
        for (i, c) in text.bytes().enumerate() {
            let bits = ALPHABET.iter().position(|&a| a == c).ok_or(ParseTopicIdError)? as u128;
            if i == TEXT_LEN - 1 {
                if bits & 15 != 0 {
                    return Err(ParseTopicIdError);
                }
                value = value << 2 | bits >> 4;
            } else {
                value = value << 6 | bits;
            }
        }
        Ok(TopicId(value.to_be_bytes()))
    }
}

/// A partition by its topic's name. Cloning it does not copy the name.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct TopicPartition {
    pub topic: Arc<str>,
    pub partition: i32,
}

impl TopicPartition {
    pub fn new(topic: impl Into<Arc<str>>, partition: i32) -> TopicPartition {
        TopicPartition { topic: topic.into(), partition }
    }
}

/// Kafka's directory name of a partition: `<topic>-<partition>`.
impl fmt::Display for TopicPartition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.topic, self.partition)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topic_id_text_is_kafkas() {
        // Printed by Kafka's Uuid class for these bytes.
        let one = TopicId(1u128.to_be_bytes());
        assert_eq!(one.to_string(), "AAAAAAAAAAAAAAAAAAAAAQ");
        assert_eq!("AAAAAAAAAAAAAAAAAAAAAQ".parse(), Ok(one));
        let all = TopicId([0xff; 16]);
        assert_eq!(all.to_string(), "_____________________w");
        assert_eq!(all.to_string().parse(), Ok(all));
    }

    #[test]
    fn random_ids_are_no_options_of_a_command_line() {
        for bits in [0, 1, 2, 62 << 122, 62 << 122 | 7, (63 << 122) - 1, 63 << 122, u128::MAX] {
            let id = TopicId::from_random(bits);
            assert!(!id.to_string().starts_with('-'), "{id}");
            assert!(u128::from_be_bytes(id.0) > 1, "{id}");
        }
        assert_eq!(TopicId::from_random(7).0, 7u128.to_be_bytes());
    }

    #[test]
    fn bad_topic_ids_are_refused() {
        for text in [
            "",
            "AAAA",
            "AAAAAAAAAAAAAAAAAAAAAAA",
            "AAAAAAAAAAAAAAAAAAAAA/",
            "AAAAAAAAAAAAAAAAAAAAAB",
        ] {
            assert_eq!(text.parse::<TopicId>(), Err(ParseTopicIdError), "{text}");
        }
    }
}
