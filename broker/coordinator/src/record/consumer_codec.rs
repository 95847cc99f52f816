//! The records of consumer groups as Kafka writes them: types 3 and 5 to 8, and 16 of regular
//! expressions. Type 4, the topics of a group, is of brokers before 4.1, and says nothing that a
//! group is not compared with again.

use std::collections::BTreeSet;
use std::sync::Arc;

use base::TopicId;
use bytes::Bytes;
use wire::messages::consumer_group_current_member_assignment_value::TopicPartitions;
use wire::messages::consumer_group_member_metadata_value::{
    ClassicMemberMetadata, ClassicProtocol,
};
use wire::messages::consumer_group_target_assignment_member_value::TopicPartition;
use wire::messages::*;
use wire::{EncodeError, Reader, Str};

use super::GroupRecord;
use super::codec::{DecodeRecordError, decode_value, versioned};
use crate::Protocol;
use crate::consumer::value::{
    ClassicMetadata, ConsumerRecord, Current, GroupEpoch, MemberState, OwnedPartitions, Partitions,
    ResolvedRegex, Subscription, TargetEpoch,
};

const GROUP: i16 = 3;
const MEMBER: i16 = 5;
const TARGET_EPOCH: i16 = 6;
const TARGET: i16 = 7;
const CURRENT: i16 = 8;
const REGEX: i16 = 16;

/// The one version of all these values.
const VALUE: i16 = 0;

pub(super) fn encode(
    group: &Arc<str>,
    record: &ConsumerRecord,
) -> Result<(Bytes, Option<Bytes>), EncodeError> {
    let group_id: Str = group.into();
    let of_member = |member_id: &Arc<str>| (group_id.clone(), Str::from(member_id));
    match record {
        ConsumerRecord::Group(value) => {
            let key = ConsumerGroupMetadataKey { group_id };
            let value = value.as_ref().map(encode_epoch).transpose()?;
            Ok((versioned(GROUP, 0, &key)?, value))
        }
        ConsumerRecord::TargetEpoch(value) => {
            let key = ConsumerGroupTargetAssignmentMetadataKey { group_id };
            let value = value.as_ref().map(encode_target_epoch).transpose()?;
            Ok((versioned(TARGET_EPOCH, 0, &key)?, value))
        }
        ConsumerRecord::Member(id, value) => {
            let (group_id, member_id) = of_member(id);
            let key = ConsumerGroupMemberMetadataKey { group_id, member_id };
            let value = value.as_ref().map(|v| encode_member(v)).transpose()?;
            Ok((versioned(MEMBER, 0, &key)?, value))
        }
        ConsumerRecord::Target(id, value) => {
            let (group_id, member_id) = of_member(id);
            let key = ConsumerGroupTargetAssignmentMemberKey { group_id, member_id };
            let value = value.as_ref().map(|v| encode_target(v)).transpose()?;
            Ok((versioned(TARGET, 0, &key)?, value))
        }
        ConsumerRecord::Current(id, value) => {
            let (group_id, member_id) = of_member(id);
            let key = ConsumerGroupCurrentMemberAssignmentKey { group_id, member_id };
            let value = value.as_ref().map(encode_current).transpose()?;
            Ok((versioned(CURRENT, 0, &key)?, value))
        }
        ConsumerRecord::Regex(regex, value) => {
            let regular_expression = regex.into();
            let key = ConsumerGroupRegularExpressionKey { group_id, regular_expression };
            let value = value.as_ref().map(|v| encode_regex(v)).transpose()?;
            Ok((versioned(REGEX, 0, &key)?, value))
        }
    }
}

/// `kind`: the key's type, which was read already.
pub(super) fn decode(
    kind: i16,
    r: &mut Reader,
    value: Option<Bytes>,
) -> Result<Option<GroupRecord>, DecodeRecordError> {
    let (group, record) = match kind {
        GROUP => {
            let key: ConsumerGroupMetadataKey = decode_key(r)?;
            let value = value.map(decode_epoch).transpose()?;
            (key.group_id, ConsumerRecord::Group(value))
        }
        TARGET_EPOCH => {
            let key: ConsumerGroupTargetAssignmentMetadataKey = decode_key(r)?;
            let value = value.map(decode_target_epoch).transpose()?;
            (key.group_id, ConsumerRecord::TargetEpoch(value))
        }
        MEMBER => {
            let key: ConsumerGroupMemberMetadataKey = decode_key(r)?;
            let value = value.map(decode_member).transpose()?;
            (key.group_id, ConsumerRecord::Member(key.member_id.into(), value.map(Arc::new)))
        }
        TARGET => {
            let key: ConsumerGroupTargetAssignmentMemberKey = decode_key(r)?;
            let value = value.map(decode_target).transpose()?;
            (key.group_id, ConsumerRecord::Target(key.member_id.into(), value.map(Arc::new)))
        }
        CURRENT => {
            let key: ConsumerGroupCurrentMemberAssignmentKey = decode_key(r)?;
            let value = value.map(decode_current).transpose()?;
            (key.group_id, ConsumerRecord::Current(key.member_id.into(), value))
        }
        REGEX => {
            let key: ConsumerGroupRegularExpressionKey = decode_key(r)?;
            let value = value.map(decode_regex).transpose()?;
            (
                key.group_id,
                ConsumerRecord::Regex(key.regular_expression.into(), value.map(Arc::new)),
            )
        }
        _ => return Ok(None),
    };
    Ok(Some(GroupRecord::Consumer { group: group.into(), record }))
}

fn decode_key<M: wire::Message>(r: &mut Reader) -> Result<M, DecodeRecordError> {
    M::decode(r, 0).map_err(|cause| DecodeRecordError { part: "key", cause })
}

fn encode_epoch(value: &GroupEpoch) -> Result<Bytes, EncodeError> {
    let GroupEpoch { epoch, metadata_hash } = *value;
    versioned(VALUE, VALUE, &ConsumerGroupMetadataValue { epoch, metadata_hash })
}

fn decode_epoch(value: Bytes) -> Result<GroupEpoch, DecodeRecordError> {
    let ConsumerGroupMetadataValue { epoch, metadata_hash } = decode_value(value)?;
    Ok(GroupEpoch { epoch, metadata_hash })
}

fn encode_target_epoch(value: &TargetEpoch) -> Result<Bytes, EncodeError> {
    let message = ConsumerGroupTargetAssignmentMetadataValue {
        assignment_epoch: value.epoch,
        assignment_timestamp: value.computed_ms,
    };
    versioned(VALUE, VALUE, &message)
}

fn decode_target_epoch(value: Bytes) -> Result<TargetEpoch, DecodeRecordError> {
    let message: ConsumerGroupTargetAssignmentMetadataValue = decode_value(value)?;
    Ok(TargetEpoch { epoch: message.assignment_epoch, computed_ms: message.assignment_timestamp })
}

fn encode_member(value: &Subscription) -> Result<Bytes, EncodeError> {
    let protocol =
        |p: &Protocol| ClassicProtocol { name: (&p.name).into(), metadata: p.metadata.clone() };
    let classic = value.classic.as_ref().map(|c| ClassicMemberMetadata {
        session_timeout_ms: c.session_timeout_ms,
        supported_protocols: c.protocols.iter().map(protocol).collect(),
    });
    let message = ConsumerGroupMemberMetadataValue {
        instance_id: value.instance_id.as_ref().map(Into::into),
        rack_id: value.rack_id.as_ref().map(Into::into),
        client_id: (&value.client_id).into(),
        client_host: (&value.client_host).into(),
        subscribed_topic_names: value.topics.iter().map(Into::into).collect(),
        subscribed_topic_regex: value.regex.as_ref().map(Into::into),
        rebalance_timeout_ms: value.rebalance_timeout_ms,
        server_assignor: value.assignor.as_ref().map(Into::into),
        classic_member_metadata: classic,
    };
    versioned(VALUE, VALUE, &message)
}

fn decode_member(value: Bytes) -> Result<Subscription, DecodeRecordError> {
    let message: ConsumerGroupMemberMetadataValue = decode_value(value)?;
    let protocol = |p: ClassicProtocol| Protocol {
        name: p.name.into(),
        // A copy: a slice would keep the whole chunk of log alive for as long as the member.
        metadata: Bytes::copy_from_slice(&p.metadata),
    };
    let classic = message.classic_member_metadata.map(|c| ClassicMetadata {
        session_timeout_ms: c.session_timeout_ms,
        protocols: c.supported_protocols.into_iter().map(protocol).collect(),
    });
    let regex: Option<Arc<str>> = message.subscribed_topic_regex.map(Into::into);
    Ok(Subscription {
        instance_id: message.instance_id.map(Into::into),
        rack_id: message.rack_id.map(Into::into),
        client_id: message.client_id.into(),
        client_host: message.client_host.into(),
        topics: message.subscribed_topic_names.into_iter().map(Into::into).collect(),
        regex: regex.filter(|r| !r.is_empty()),
        rebalance_timeout_ms: message.rebalance_timeout_ms,
        assignor: message.server_assignor.map(Into::into),
        classic,
    })
}

fn encode_target(value: &Partitions) -> Result<Bytes, EncodeError> {
    let topic = |(topic_id, partitions): (&TopicId, &BTreeSet<i32>)| TopicPartition {
        topic_id: *topic_id,
        partitions: partitions.iter().copied().collect(),
    };
    let topic_partitions = value.iter().map(topic).collect();
    versioned(VALUE, VALUE, &ConsumerGroupTargetAssignmentMemberValue { topic_partitions })
}

fn decode_target(value: Bytes) -> Result<Partitions, DecodeRecordError> {
    let message: ConsumerGroupTargetAssignmentMemberValue = decode_value(value)?;
    let mut target = Partitions::new();
    for topic in message.topic_partitions.into_iter().filter(|t| !t.partitions.is_empty()) {
        target.entry(topic.topic_id).or_default().extend(topic.partitions);
    }
    Ok(target)
}

fn encode_current(value: &Current) -> Result<Bytes, EncodeError> {
    let message = ConsumerGroupCurrentMemberAssignmentValue {
        member_epoch: value.epoch,
        previous_member_epoch: value.previous_epoch,
        state: match value.state {
            MemberState::Stable => 0,
            MemberState::UnrevokedPartitions => 1,
            MemberState::UnreleasedPartitions => 2,
            MemberState::Unknown => 127,
        },
        assigned_partitions: encode_owned(&value.assigned),
        partitions_pending_revocation: encode_owned(&value.revoking),
    };
    versioned(VALUE, VALUE, &message)
}

fn decode_current(value: Bytes) -> Result<Current, DecodeRecordError> {
    let message: ConsumerGroupCurrentMemberAssignmentValue = decode_value(value)?;
    Ok(Current {
        epoch: message.member_epoch,
        previous_epoch: message.previous_member_epoch,
        state: match message.state {
            0 => MemberState::Stable,
            1 => MemberState::UnrevokedPartitions,
            2 => MemberState::UnreleasedPartitions,
            _ => MemberState::Unknown,
        },
        assigned: decode_owned(message.assigned_partitions, message.member_epoch),
        revoking: decode_owned(message.partitions_pending_revocation, message.member_epoch),
    })
}

fn encode_owned(owned: &OwnedPartitions) -> Vec<TopicPartitions> {
    let topic =
        |(id, partitions): (&TopicId, &std::collections::BTreeMap<i32, i32>)| TopicPartitions {
            topic_id: *id,
            partitions: partitions.keys().copied().collect(),
            assignment_epochs: Some(partitions.values().copied().collect()),
        };
    owned.iter().map(topic).collect()
}

/// Older brokers do not say since when: it counts as since the member's epoch.
fn decode_owned(topics: Vec<TopicPartitions>, epoch: i32) -> OwnedPartitions {
    let mut owned = OwnedPartitions::new();
    for topic in topics.into_iter().filter(|t| !t.partitions.is_empty()) {
        let epochs = topic.assignment_epochs.unwrap_or_default();
        let since = (0..topic.partitions.len()).map(|at| epochs.get(at).copied().unwrap_or(epoch));
        let pairs = topic.partitions.iter().copied().zip(since);
        owned.entry(topic.topic_id).or_default().extend(pairs);
    }
    owned
}

fn encode_regex(value: &ResolvedRegex) -> Result<Bytes, EncodeError> {
    let message = ConsumerGroupRegularExpressionValue {
        topics: value.topics.iter().map(Into::into).collect(),
        version: value.version,
        timestamp: value.resolved_ms,
    };
    versioned(VALUE, VALUE, &message)
}

fn decode_regex(value: Bytes) -> Result<ResolvedRegex, DecodeRecordError> {
    let message: ConsumerGroupRegularExpressionValue = decode_value(value)?;
    Ok(ResolvedRegex {
        topics: message.topics.into_iter().map(Into::into).collect(),
        version: message.version,
        resolved_ms: message.timestamp,
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn round_trip(record: ConsumerRecord) -> (Bytes, Option<Bytes>) {
        let record = GroupRecord::Consumer { group: "g".into(), record };
        let (key, value) = record.encode().unwrap();
        let decoded = GroupRecord::decode(key.clone(), value.clone()).unwrap();
        assert_eq!(decoded.as_ref(), Some(&record));
        (key, value)
    }

    fn owned() -> OwnedPartitions {
        [(TopicId([1; 16]), [(0, 3), (7, 4)].into())].into()
    }

    #[test]
    fn all_records_come_back_under_kafkas_keys() {
        let classic = ClassicMetadata {
            session_timeout_ms: 9,
            protocols: vec![Protocol { name: "range".into(), metadata: Bytes::from_static(b"x") }],
        };
        let subscription = Subscription {
            instance_id: Some("i".into()),
            rack_id: Some("r".into()),
            client_id: "c".into(),
            client_host: "/127.0.0.1".into(),
            topics: ["a".into(), "b".into()].into(),
            regex: Some("x.*".into()),
            rebalance_timeout_ms: 5,
            assignor: Some("uniform".into()),
            classic: Some(classic),
        };
        let current = Current {
            epoch: 4,
            previous_epoch: 3,
            state: MemberState::UnrevokedPartitions,
            assigned: owned(),
            revoking: owned(),
        };
        let regex = ResolvedRegex { topics: ["t".into()].into(), version: 8, resolved_ms: 9 };
        let target: Partitions = [(TopicId([1; 16]), [0, 2].into())].into();
        let records = [
            (3, ConsumerRecord::Group(Some(GroupEpoch { epoch: 1, metadata_hash: -7 }))),
            (5, ConsumerRecord::Member("m".into(), Some(Arc::new(subscription)))),
            (6, ConsumerRecord::TargetEpoch(Some(TargetEpoch { epoch: 1, computed_ms: 2 }))),
            (7, ConsumerRecord::Target("m".into(), Some(Arc::new(target)))),
            (8, ConsumerRecord::Current("m".into(), Some(current))),
            (16, ConsumerRecord::Regex("x.*".into(), Some(Arc::new(regex)))),
            (3, ConsumerRecord::Group(None)),
            (5, ConsumerRecord::Member("m".into(), None)),
            (8, ConsumerRecord::Current("m".into(), None)),
        ];
        for (kind, record) in records {
            let (key, value) = round_trip(record);
            assert_eq!(key[..2], i16::to_be_bytes(kind));
            assert!(value.is_none_or(|value| value[..2] == [0, 0]));
        }
    }

    #[test]
    fn what_an_older_broker_wrote_counts_as_assigned_in_the_members_epoch() {
        let topics = vec![TopicPartitions {
            topic_id: TopicId([1; 16]),
            partitions: vec![4],
            assignment_epochs: None,
        }];
        assert_eq!(decode_owned(topics, 6), [(TopicId([1; 16]), [(4, 6)].into())].into());
    }
}
