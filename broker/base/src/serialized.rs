//! Serialized forms of the shared types: a broker id is its number, a topic id 16 bytes, an error
//! code its number on the wire. Written by hand so that stored metadata does not depend on derives.

use std::fmt;

use serde::de::{Error, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::{BrokerId, ErrorCode, TopicId};

impl Serialize for BrokerId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_i32(self.0)
    }
}

impl<'de> Deserialize<'de> for BrokerId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<BrokerId, D::Error> {
        i32::deserialize(deserializer).map(BrokerId)
    }
}

impl Serialize for ErrorCode {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_i16(self.code())
    }
}

impl<'de> Deserialize<'de> for ErrorCode {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<ErrorCode, D::Error> {
        // A newer broker may send a code that this one does not know.
        let code = i16::deserialize(deserializer)?;
        Ok(ErrorCode::from_i16(code).unwrap_or(ErrorCode::UnknownServerError))
    }
}

impl Serialize for TopicId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}

impl<'de> Deserialize<'de> for TopicId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<TopicId, D::Error> {
        deserializer.deserialize_bytes(TopicIdVisitor)
    }
}

struct TopicIdVisitor;

impl<'de> Visitor<'de> for TopicIdVisitor {
    type Value = TopicId;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("16 bytes")
    }

    fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<TopicId, E> {
        let id: [u8; 16] = bytes.try_into().map_err(|_| E::invalid_length(bytes.len(), &self))?;
        Ok(TopicId(id))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<TopicId, A::Error> {
        let mut id = [0u8; 16];
        for (i, byte) in id.iter_mut().enumerate() {
            *byte = seq.next_element()?.ok_or_else(|| A::Error::invalid_length(i, &self))?;
        }
        Ok(TopicId(id))
    }
}
