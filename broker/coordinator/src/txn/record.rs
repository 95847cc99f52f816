//! Keys and values of `__transaction_state` as Kafka writes them: each begins with the version of
//! its schema. Values are of version 1 where `transaction.version` is 1 or more, or where only that
//! version can say what is known.

use base::ProducerId;
use bytes::Bytes;
use wire::messages::transaction_log_value::PartitionsSchema;
use wire::messages::{TransactionLogKey, TransactionLogValue};
use wire::{DecodeError, EncodeError, Message, Reader, Str, Writer};

use super::transaction::{Partitions, Transaction, TransactionalId, TxnState};

const KEY: i16 = 0;
const PLAIN_VALUE: i16 = 0;
const FLEXIBLE_VALUE: i16 = 1;

/// What stands for a producer id that is none.
const NONE: ProducerId = -1;

/// The last word on one transactional id: no value is a tombstone.
#[derive(Clone, PartialEq, Debug)]
pub struct TxnRecord {
    pub id: TransactionalId,
    pub value: Option<Transaction>,
    /// Level of `transaction.version` in the cluster.
    pub level: i16,
}

impl TxnRecord {
    pub(super) fn encode(&self) -> Result<(Bytes, Option<Bytes>), EncodeError> {
        let key = TransactionLogKey { transactional_id: (&self.id).into() };
        let value = self.value.as_ref().map(|value| self.encode_value(value)).transpose()?;
        Ok((versioned(KEY, &key)?, value))
    }

    fn encode_value(&self, value: &Transaction) -> Result<Bytes, EncodeError> {
        let id = |id: Option<ProducerId>| id.unwrap_or(NONE);
        let says_more = value.version > 0 || value.next_producer_id.is_some();
        let version = match self.level >= 1 || says_more {
            true => FLEXIBLE_VALUE,
            false => PLAIN_VALUE,
        };
        let previous = value.previous_producer_id.filter(|_| version >= FLEXIBLE_VALUE);
        let partitions =
            |(topic, indexes): (_, &std::collections::BTreeSet<i32>)| PartitionsSchema {
                topic: Str::from(topic),
                partition_ids: indexes.iter().copied().collect(),
            };
        let message = TransactionLogValue {
            producer_id: value.producer_id,
            previous_producer_id: id(previous),
            next_producer_id: id(value.next_producer_id),
            producer_epoch: value.producer_epoch,
            transaction_timeout_ms: value.timeout_ms,
            transaction_status: value.state.code(),
            transaction_partitions: (value.state != TxnState::Empty)
                .then(|| value.partitions.iter().map(partitions).collect()),
            transaction_last_update_timestamp_ms: value.updated_ms,
            transaction_start_timestamp_ms: value.started_ms.unwrap_or(-1),
            client_transaction_version: value.version,
            ..TransactionLogValue::default()
        };
        versioned(version, &message)
    }

    /// Reads a record; its level is what its schema shows of the cluster's. The error is for
    /// people.
    pub(super) fn decode(key: Bytes, value: Option<Bytes>) -> Result<TxnRecord, String> {
        let (key, _): (TransactionLogKey, _) =
            read(key).map_err(|error| format!("key: {error}"))?;
        let id = key.transactional_id.into();
        let Some(value) = value else { return Ok(TxnRecord { id, value: None, level: 0 }) };
        let (message, schema) = read(value).map_err(|error| format!("value: {error}"))?;
        let value = decode_value(message)?;
        let level = schema.max(value.version);
        Ok(TxnRecord { id, value: Some(value), level })
    }
}

fn decode_value(message: TransactionLogValue) -> Result<Transaction, String> {
    let id = |id: ProducerId| (id != NONE).then_some(id);
    let code = message.transaction_status;
    let state = TxnState::of(code).ok_or_else(|| format!("unknown state {code}"))?;
    let mut partitions = Partitions::new();
    for topic in message.transaction_partitions.unwrap_or_default() {
        if !topic.partition_ids.is_empty() {
            partitions.entry(topic.topic.into()).or_default().extend(topic.partition_ids);
        }
    }
    let started_ms = message.transaction_start_timestamp_ms;
    Ok(Transaction {
        producer_id: message.producer_id,
        previous_producer_id: id(message.previous_producer_id),
        next_producer_id: id(message.next_producer_id),
        producer_epoch: message.producer_epoch,
        timeout_ms: message.transaction_timeout_ms,
        state,
        partitions,
        started_ms: (started_ms != -1).then_some(started_ms),
        updated_ms: message.transaction_last_update_timestamp_ms,
        version: message.client_transaction_version,
    })
}

fn versioned(version: i16, message: &impl Message) -> Result<Bytes, EncodeError> {
    let mut w = Writer::new();
    w.i16(version);
    message.encode(&mut w, version)?;
    Ok(w.into_bytes().expect("invariant: the messages of this file hold no file ranges"))
}

/// A message with the version of its schema.
fn read<M: Message>(bytes: Bytes) -> Result<(M, i16), DecodeError> {
    let mut r = Reader::new(bytes);
    let version = r.i16()?;
    Ok((M::decode(&mut r, version)?, version))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn ongoing() -> Transaction {
        Transaction {
            producer_id: 7,
            previous_producer_id: Some(7),
            next_producer_id: None,
            producer_epoch: 3,
            timeout_ms: 60_000,
            state: TxnState::Ongoing,
            partitions: [("t".into(), [0, 2].into())].into(),
            started_ms: Some(16),
            updated_ms: 17,
            version: 0,
        }
    }

    fn bytes(level: i16, value: Transaction) -> Vec<u8> {
        let record = TxnRecord { id: "x".into(), value: Some(value.clone()), level };
        let (key, bytes) = record.encode().unwrap();
        let record = TxnRecord::decode(key, bytes.clone()).unwrap();
        let mut decoded = record.value.unwrap();
        if bytes.as_ref().unwrap()[1] == 0 {
            decoded.previous_producer_id = value.previous_producer_id;
        }
        assert_eq!((&*record.id, decoded), ("x", value));
        bytes.unwrap().to_vec()
    }

    /// Made by `TransactionLog.valueToBytes` of Kafka 4.4.0.
    #[test]
    fn values_are_kafkas_bytes() {
        let plain = b"\0\0\0\0\0\0\0\0\0\x07\0\x03\0\0\xea\x60\x01\0\0\0\x01\0\x01t\0\0\0\x02\
            \0\0\0\0\0\0\0\x02\0\0\0\0\0\0\0\x11\0\0\0\0\0\0\0\x10";
        assert_eq!(bytes(0, ongoing()), plain);
        let flexible = b"\0\x01\0\0\0\0\0\0\0\x07\0\x03\0\0\xea\x60\x01\x02\x02t\x03\0\0\0\0\0\0\0\
            \x02\0\0\0\0\0\0\0\0\x11\0\0\0\0\0\0\0\x10\x01\0\x08\0\0\0\0\0\0\0\x07";
        assert_eq!(bytes(1, ongoing()), flexible);
        let empty = Transaction {
            state: TxnState::Empty,
            partitions: Partitions::new(),
            started_ms: None,
            ..ongoing()
        };
        let nothing = b"\0\x01\0\0\0\0\0\0\0\x07\0\x03\0\0\xea\x60\0\0\0\0\0\0\0\0\0\x11\
            \xff\xff\xff\xff\xff\xff\xff\xff\x01\0\x08\0\0\0\0\0\0\0\x07";
        assert_eq!(bytes(2, empty), nothing);
    }

    #[test]
    fn a_change_of_the_producer_id_needs_the_newer_value() {
        let prepared = Transaction {
            state: TxnState::PrepareCommit,
            next_producer_id: Some(9),
            version: 2,
            ..ongoing()
        };
        let bytes = bytes(0, prepared);
        let tags = b"\x03\0\x08\0\0\0\0\0\0\0\x07\x01\x08\0\0\0\0\0\0\0\x09\x02\x02\0\x02";
        assert!(bytes.ends_with(tags), "{bytes:?}");
    }

    #[test]
    fn damaged_records_are_errors() {
        let key = || Bytes::from_static(b"\0\0\0\x01x");
        let tombstone = TxnRecord { id: "x".into(), value: None, level: 0 };
        assert_eq!(TxnRecord::decode(key(), None), Ok(tombstone));
        for (key, value) in [
            (Bytes::from_static(b"\0"), None),
            (Bytes::from_static(b"\0\x09\0\x01x"), None),
            (key(), Some(&b"\0\0\0"[..])),
            (key(), Some(&b"\0\x63"[..])),
        ] {
            assert!(TxnRecord::decode(key, value.map(Bytes::from_static)).is_err(), "{value:?}");
        }
        let mut unknown = bytes(0, ongoing());
        unknown[16] = 6;
        assert!(TxnRecord::decode(key(), Some(unknown.into())).is_err());
    }
}
