//! What a leader says to odd batches, and to times that are none.

use anyhow::{Context, Result};
use base::ErrorCode;
use bytes::Bytes;
use record::{BatchBuilder, BatchOptions};
use wire::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use wire::messages::produce_request::{PartitionProduceData, TopicProduceData};
use wire::messages::{ListOffsetsRequest, ProduceRequest};

use crate::{COMPACTED, Edge, STAMPED, TOPIC, compare, now_ms, produce};

/// A batch of one record, with its header changed and hashed again.
fn batch_with(timestamp: i64, key: Option<&[u8]>, change: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut builder = BatchBuilder::new(BatchOptions::default());
    builder.append(timestamp, key, Some(b"value"), &[]);
    let mut bytes = builder.finish();
    change(&mut bytes);
    let crc = record::crc::crc32c(&bytes[21..]);
    bytes[17..21].copy_from_slice(&crc.to_be_bytes());
    bytes
}

pub(crate) fn batch(timestamp: i64) -> Vec<u8> {
    batch_with(timestamp, None, |_| {})
}

fn with_attributes(attributes: u8) -> Vec<u8> {
    batch_with(now_ms(), None, |bytes| bytes[22] |= attributes)
}

/// A message of the format before batches, with its own checksum.
fn old_message(value: &[u8]) -> Vec<u8> {
    let body = [
        &[1, 0][..],
        &now_ms().to_be_bytes(),
        &(-1_i32).to_be_bytes(),
        &(value.len() as i32).to_be_bytes(),
        value,
    ]
    .concat();
    let length = (body.len() + 4) as i32;
    [&[0; 8][..], &length.to_be_bytes(), &crc32(&body).to_be_bytes(), &body].concat()
}

/// The checksum of gzip, bit by bit.
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc: u32, _| {
            (crc >> 1) ^ (0xedb8_8320 & 0_u32.wrapping_sub(crc & 1))
        })
    })
}

pub(crate) fn produce_with(
    edge: &mut Edge,
    topic: &str,
    index: i32,
    records: Option<Bytes>,
    acks: i16,
) -> Result<i16> {
    let data = PartitionProduceData { index, records };
    let data = TopicProduceData {
        name: topic.into(),
        partition_data: vec![data],
        ..TopicProduceData::default()
    };
    let request =
        ProduceRequest { acks, timeout_ms: 5000, topic_data: vec![data], ..Default::default() };
    let answer = edge.call(&request, 8)?;
    let topic = answer.responses.first().context("no topic in the answer")?;
    Ok(topic.partition_responses.first().context("no partition in the answer")?.error_code)
}

pub(crate) fn odd_batches(edge: &mut Edge) -> Result<()> {
    const INVALID: i16 = ErrorCode::InvalidRecord as i16;
    const TIMESTAMP: i16 = ErrorCode::InvalidTimestamp as i16;
    const CORRUPT: i16 = ErrorCode::CorruptMessage as i16;
    const UNKNOWN: i16 = ErrorCode::UnknownTopicOrPartition as i16;
    const TXN: i16 = ErrorCode::TransactionalIdAuthorizationFailed as i16;
    let now = now_ms();
    let two = [batch(now), batch(now)].concat();
    let tail = [batch(now), vec![0; 3]].concat();
    let cut = batch(now)[..65].to_vec();
    let mut broken = batch(now);
    broken[17] ^= 1;
    let base = batch_with(now, None, |bytes| bytes[7] = 5);
    let none = batch_with(now, None, |bytes| {
        bytes.truncate(61);
        bytes[8..12].copy_from_slice(&49_i32.to_be_bytes());
        bytes[23..27].copy_from_slice(&(-1_i32).to_be_bytes());
        bytes[57..61].copy_from_slice(&0_i32.to_be_bytes());
    });
    let lies = batch_with(now, None, |bytes| bytes[26] = 4);
    let keyed = batch_with(now, Some(b"k"), |_| {});
    let large = {
        let mut builder = BatchBuilder::new(BatchOptions::default());
        builder.append(now, None, Some(&[7; 1_100_000]), &[]);
        builder.finish()
    };
    let mut seen = Vec::new();
    for (what, topic, index, records, wanted) in [
        ("a good one", TOPIC, 0, batch(now), 0),
        ("the old format", TOPIC, 0, old_message(b"v"), INVALID),
        ("the old format, long", TOPIC, 0, old_message(&[b'v'; 200]), INVALID),
        ("nothing", TOPIC, 0, Vec::new(), INVALID),
        ("two", TOPIC, 0, two, INVALID),
        ("one cut off", TOPIC, 0, cut, INVALID),
        ("one and three bytes", TOPIC, 0, tail, 0),
        ("a wrong checksum", TOPIC, 0, broken, CORRUPT),
        ("a control batch", TOPIC, 0, with_attributes(32), INVALID),
        ("a base offset", TOPIC, 0, base, INVALID),
        ("no records", TOPIC, 0, none, INVALID),
        ("a wrong last offset", TOPIC, 0, lies, INVALID),
        ("no timestamp", TOPIC, 0, batch(-1), 0),
        ("an old timestamp", TOPIC, 0, batch(1), 0),
        ("microseconds", TOPIC, 0, batch(now * 1000), TIMESTAMP),
        ("a transaction of nobody", TOPIC, 0, with_attributes(16), TXN),
        ("the broker's time, on a topic of the producer's", TOPIC, 0, with_attributes(8), 0),
        ("the broker's time, on a topic of it", STAMPED, 0, with_attributes(8), TIMESTAMP),
        ("no key to compact by", COMPACTED, 0, batch(now), INVALID),
        ("a key to compact by", COMPACTED, 0, keyed, 0),
        ("one that is too large", TOPIC, 0, large, ErrorCode::MessageTooLarge as i16),
        ("no such partition", TOPIC, 7, batch(now), UNKNOWN),
        ("a negative partition", TOPIC, -1, batch(now), UNKNOWN),
    ] {
        seen.push((what, produce(edge, topic, index, records)?, wanted));
    }
    let good = Some(Bytes::from(batch(now)));
    let acks = produce_with(edge, TOPIC, 0, good, 2)?;
    seen.push(("two acknowledgements", acks, ErrorCode::InvalidRequiredAcks as i16));
    seen.push(("null", produce_with(edge, TOPIC, 0, None, -1)?, INVALID));
    compare(&seen)
}

pub(crate) fn odd_timestamps(edge: &mut Edge) -> Result<()> {
    const UNSUPPORTED: i16 = ErrorCode::UnsupportedVersion as i16;
    let mut ask = |version, timestamps: &[i64]| -> Result<Vec<i16>> {
        let asked = |timestamp: &i64| ListOffsetsPartition {
            timestamp: *timestamp,
            current_leader_epoch: -1,
            ..Default::default()
        };
        let partitions = timestamps.iter().map(asked).collect();
        let topics = vec![ListOffsetsTopic { name: TOPIC.into(), partitions }];
        let request = ListOffsetsRequest { replica_id: -1, topics, ..Default::default() };
        let answer = edge.call(&request, version)?;
        let partitions = answer.topics.first().context("no topic")?.partitions.iter();
        Ok(partitions.map(|partition| partition.error_code).collect())
    };
    let mut seen = Vec::new();
    for (what, version, timestamp, wanted) in [
        ("latest", 1, -1, 0),
        ("earliest", 1, -2, 0),
        ("a time", 1, 5, 0),
        ("max timestamp before it was one", 6, -3, UNSUPPORTED),
        ("max timestamp", 7, -3, 0),
        ("earliest local before it was one", 7, -4, UNSUPPORTED),
        ("earliest local", 8, -4, 0),
        ("latest tiered before it was one", 8, -5, UNSUPPORTED),
        ("pending upload before it was one", 10, -6, UNSUPPORTED),
        ("nothing of the kind", 11, -7, UNSUPPORTED),
        ("nothing of the kind at all", 1, i64::MIN, UNSUPPORTED),
    ] {
        seen.push((what, ask(version, &[timestamp])?, vec![wanted]));
    }
    let twice = [ErrorCode::InvalidRequest as i16; 2];
    let answers = ask(7, &[-1, -2])?;
    // One answer may stand for both.
    seen.push(("a partition twice", answers.clone(), twice[..answers.len().clamp(1, 2)].to_vec()));
    compare(&seen)
}
