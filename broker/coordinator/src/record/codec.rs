//! Keys and values of `__consumer_offsets` as Kafka writes them. A key begins with its type as an
//! i16, a value with the version of its schema.

use base::TopicId;
use bytes::Bytes;
use wire::messages::group_metadata_value::MemberMetadata;
use wire::messages::{
    GroupMetadataKey, GroupMetadataValue, LegacyOffsetCommitKey, OffsetCommitKey, OffsetCommitValue,
};
use wire::{EncodeError, Message, Reader, Writer};

use super::{GroupRecord, GroupValue, MemberValue, consumer_codec};
use crate::offsets::CommittedOffset;

/// Types of keys. Both offset types have the same fields; Kafka writes 1.
const LEGACY_OFFSET: i16 = 0;
const OFFSET: i16 = 1;
const GROUP: i16 = 2;

/// Versions of values that are written. Offsets with an expiry of their own exist in version 1
/// only, topic ids from 4 on; else the oldest version that says everything, for old readers.
const OFFSET_VALUE_EXPIRING: i16 = 1;
const OFFSET_VALUE: i16 = 3;
const OFFSET_VALUE_TOPIC_ID: i16 = 4;
const GROUP_VALUE: i16 = 3;

/// A record of the log that is not what Kafka writes: the log is damaged or from the future.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("decode {part}: {cause}")]
pub struct DecodeRecordError {
    pub(super) part: &'static str,
    pub(super) cause: wire::DecodeError,
}

impl GroupRecord {
    /// Key and value of the record; no value is a tombstone.
    pub fn encode(&self) -> Result<(Bytes, Option<Bytes>), EncodeError> {
        match self {
            GroupRecord::Offset { group, topic, partition, value }
            | GroupRecord::PendingOffset { group, topic, partition, value, .. } => {
                let key = OffsetCommitKey {
                    group: group.into(),
                    topic: topic.into(),
                    partition: *partition,
                };
                let value = value.as_ref().map(encode_offset).transpose()?;
                Ok((versioned(OFFSET, 0, &key)?, value))
            }
            GroupRecord::TransactionEnd(_) => {
                Err(EncodeError::UnsupportedVersion { message: "EndTxnMarker", version: -1 })
            }
            GroupRecord::Group { group, value } => {
                let key = GroupMetadataKey { group: group.into() };
                let value = value.as_ref().map(encode_group).transpose()?;
                Ok((versioned(GROUP, 0, &key)?, value))
            }
            GroupRecord::Consumer { group, record } => consumer_codec::encode(group, record),
        }
    }

    /// Reads a record; `None` if it is of a kind that this broker does not keep (share groups,
    /// streams groups), which stays in the log untouched.
    pub fn decode(
        key: Bytes,
        value: Option<Bytes>,
    ) -> Result<Option<GroupRecord>, DecodeRecordError> {
        let mut r = Reader::new(key);
        let in_key = |cause| DecodeRecordError { part: "key", cause };
        match r.i16().map_err(in_key)? {
            LEGACY_OFFSET => {
                let key = LegacyOffsetCommitKey::decode(&mut r, 0).map_err(in_key)?;
                let OffsetCommitKey { group, topic, partition } = OffsetCommitKey {
                    group: key.group,
                    topic: key.topic,
                    partition: key.partition,
                };
                offset_record(group, topic, partition, value).map(Some)
            }
            OFFSET => {
                let key = OffsetCommitKey::decode(&mut r, 0).map_err(in_key)?;
                offset_record(key.group, key.topic, key.partition, value).map(Some)
            }
            GROUP => {
                let key = GroupMetadataKey::decode(&mut r, 0).map_err(in_key)?;
                let value = value.map(decode_group).transpose()?;
                Ok(Some(GroupRecord::Group { group: key.group.into(), value }))
            }
            kind => consumer_codec::decode(kind, &mut r, value),
        }
    }
}

/// `first` (a key's type or a value's version), then the message in `version`.
pub(super) fn versioned(
    first: i16,
    version: i16,
    message: &impl Message,
) -> Result<Bytes, EncodeError> {
    let mut w = Writer::new();
    w.i16(first);
    message.encode(&mut w, version)?;
    Ok(w.into_bytes().expect("invariant: the messages of this file hold no file ranges"))
}

fn encode_offset(value: &CommittedOffset) -> Result<Bytes, EncodeError> {
    let version = match value {
        CommittedOffset { expire_ms: Some(_), .. } => OFFSET_VALUE_EXPIRING,
        CommittedOffset { topic_id: TopicId::ZERO, .. } => OFFSET_VALUE,
        _ => OFFSET_VALUE_TOPIC_ID,
    };
    let message = OffsetCommitValue {
        offset: value.offset,
        leader_epoch: value.leader_epoch,
        metadata: (&value.metadata).into(),
        commit_timestamp: value.commit_ms,
        expire_timestamp: value.expire_ms.unwrap_or(-1),
        topic_id: value.topic_id,
    };
    versioned(version, version, &message)
}

fn offset_record(
    group: wire::Str,
    topic: wire::Str,
    partition: i32,
    value: Option<Bytes>,
) -> Result<GroupRecord, DecodeRecordError> {
    let value = value.map(decode_offset).transpose()?;
    Ok(GroupRecord::Offset { group: group.into(), topic: topic.into(), partition, value })
}

fn decode_offset(value: Bytes) -> Result<CommittedOffset, DecodeRecordError> {
    let message: OffsetCommitValue = decode_value(value)?;
    Ok(CommittedOffset {
        offset: message.offset,
        leader_epoch: message.leader_epoch,
        metadata: message.metadata.into(),
        commit_ms: message.commit_timestamp,
        expire_ms: (message.expire_timestamp != -1).then_some(message.expire_timestamp),
        topic_id: message.topic_id,
        order: 0,
    })
}

fn encode_group(value: &GroupValue) -> Result<Bytes, EncodeError> {
    let member = |m: &MemberValue| MemberMetadata {
        member_id: (&m.member_id).into(),
        group_instance_id: m.instance_id.as_ref().map(Into::into),
        client_id: (&m.client_id).into(),
        client_host: (&m.client_host).into(),
        rebalance_timeout: m.rebalance_timeout_ms,
        session_timeout: m.session_timeout_ms,
        subscription: m.subscription.clone(),
        assignment: m.assignment.clone(),
    };
    let message = GroupMetadataValue {
        protocol_type: (&value.protocol_type).into(),
        generation: value.generation,
        protocol: value.protocol.as_ref().map(Into::into),
        leader: value.leader.as_ref().map(Into::into),
        current_state_timestamp: value.state_since_ms.unwrap_or(-1),
        members: value.members.iter().map(member).collect(),
    };
    versioned(GROUP_VALUE, GROUP_VALUE, &message)
}

fn decode_group(value: Bytes) -> Result<GroupValue, DecodeRecordError> {
    let message: GroupMetadataValue = decode_value(value)?;
    let member = |m: MemberMetadata| MemberValue {
        member_id: m.member_id.into(),
        instance_id: m.group_instance_id.map(Into::into),
        client_id: m.client_id.into(),
        client_host: m.client_host.into(),
        // The oldest records know one timeout for both.
        rebalance_timeout_ms: match m.rebalance_timeout {
            -1 => m.session_timeout,
            ms => ms,
        },
        session_timeout_ms: m.session_timeout,
        // Copies: a slice would keep the whole chunk of log alive for as long as the member.
        subscription: Bytes::copy_from_slice(&m.subscription),
        assignment: Bytes::copy_from_slice(&m.assignment),
    };
    let state_since_ms = message.current_state_timestamp;
    Ok(GroupValue {
        protocol_type: message.protocol_type.into(),
        generation: message.generation,
        protocol: message.protocol.map(Into::into),
        leader: message.leader.map(Into::into),
        state_since_ms: (state_since_ms != -1).then_some(state_since_ms),
        members: message.members.into_iter().map(member).collect(),
    })
}

pub(super) fn decode_value<M: Message>(value: Bytes) -> Result<M, DecodeRecordError> {
    let mut r = Reader::new(value);
    let in_value = |cause| DecodeRecordError { part: M::NAME, cause };
    let version = r.i16().map_err(in_value)?;
    M::decode(&mut r, version).map_err(in_value)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn round_trip(record: &GroupRecord) -> (Bytes, Option<Bytes>) {
        let (key, value) = record.encode().unwrap();
        let decoded = GroupRecord::decode(key.clone(), value.clone()).unwrap();
        assert_eq!(decoded.as_ref(), Some(record));
        (key, value)
    }

    fn offset(value: Option<CommittedOffset>) -> GroupRecord {
        GroupRecord::Offset { group: "g".into(), topic: "t".into(), partition: 7, value }
    }

    fn committed(expire_ms: Option<i64>, leader_epoch: i32, topic_id: TopicId) -> CommittedOffset {
        let (offset, commit_ms) = (5, 9);
        let metadata = "m".into();
        let order = 0;
        CommittedOffset { offset, leader_epoch, metadata, commit_ms, expire_ms, topic_id, order }
    }

    #[test]
    fn offsets_are_kafkas_bytes() {
        let (key, value) = round_trip(&offset(Some(committed(None, 3, TopicId::ZERO))));
        assert_eq!(&key[..], b"\0\x01\0\x01g\0\x01t\0\0\0\x07");
        let plain = b"\0\x03\0\0\0\0\0\0\0\x05\0\0\0\x03\0\x01m\0\0\0\0\0\0\0\x09";
        assert_eq!(&value.unwrap()[..], plain);
        let (_, value) = round_trip(&offset(Some(committed(Some(8), -1, TopicId::ZERO))));
        assert_eq!(value.unwrap()[..2], [0, 1]);
        let (_, value) = round_trip(&offset(Some(committed(None, 3, TopicId([1; 16])))));
        assert_eq!(value.unwrap()[..2], [0, 4]);
        assert_eq!(round_trip(&offset(None)).1, None);
    }

    #[test]
    fn groups_round_trip() {
        let member = MemberValue {
            member_id: "m".into(),
            instance_id: Some("i".into()),
            client_id: "c".into(),
            client_host: "/127.0.0.1".into(),
            rebalance_timeout_ms: 1,
            session_timeout_ms: 2,
            subscription: Bytes::from_static(b"s"),
            assignment: Bytes::from_static(b"a"),
        };
        let value = GroupValue {
            protocol_type: "consumer".into(),
            generation: 4,
            protocol: Some("range".into()),
            leader: Some("m".into()),
            state_since_ms: Some(11),
            members: vec![member],
        };
        let (key, bytes) =
            round_trip(&GroupRecord::Group { group: "g".into(), value: Some(value) });
        assert_eq!(&key[..], b"\0\x02\0\x01g");
        assert_eq!(bytes.unwrap()[..2], [0, 3]);
        round_trip(&GroupRecord::Group { group: "g".into(), value: None });
    }

    #[test]
    fn foreign_records_are_skipped_and_damaged_ones_are_errors() {
        let foreign = Bytes::from_static(b"\0\x0banything");
        assert_eq!(GroupRecord::decode(foreign, None), Ok(None));
        for (key, value) in [
            (&b"\0"[..], None),
            (b"\0\x01\0\x09g", None),
            (b"\0\x02\0\x01g", Some(&b"\0\x03\0"[..])),
            (b"\0\x02\0\x01g", Some(b"\0\x63")),
        ] {
            let decoded =
                GroupRecord::decode(Bytes::from_static(key), value.map(Bytes::from_static));
            assert!(decoded.is_err(), "{key:?} {value:?}");
        }
    }
}
