//! Bytes of record batches, internal requests and snapshots: MessagePack with field names, behind
//! a version. Sizes are bounded before decoding; MessagePack's decoder allocates no more than the
//! input can hold.

use std::sync::Arc;

use base::{BrokerEpoch, BrokerId, ProducerId, TopicId};
use crc_fast::CrcAlgorithm;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::image::{Broker, ConfigMap, Image, Partition, Topic};
use crate::level;
use crate::quota::{QuotaEntity, QuotaValues};
use crate::record::{
    AccessControlEntryRecord, ConfigResource, MetadataRecord, UserScramCredentialRecord,
};
use crate::request::{ControllerRequest, ControllerResponse};

/// Largest entry of the quorum's log and largest internal request.
pub const RECORDS_BYTES_MAX: usize = 64 << 20;
const SNAPSHOT_BYTES_MAX: usize = 1 << 30;
const VERSION: u8 = 1;
const SNAPSHOT_MAGIC: [u8; 4] = *b"BNBS";
/// Magic, version, CRC-32C of the payload, length of the payload.
const SNAPSHOT_HEADER_BYTES: usize = 4 + 1 + 4 + 8;

/// Bytes that are not what they should be.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    #[error("{0} bytes are more than the limit")]
    TooLarge(usize),
    #[error("the data ends early")]
    Truncated,
    #[error("not a metadata snapshot")]
    BadMagic,
    #[error("version {0} is not supported")]
    UnsupportedVersion(u8),
    #[error("the checksum does not match")]
    BadChecksum,
    #[error("records of the kind {0} are not known to this release")]
    UnknownKind(String),
    #[error("malformed contents: {0}")]
    Malformed(#[from] rmp_serde::decode::Error),
    #[error("the snapshot contradicts itself: {0}")]
    Inconsistent(String),
}

/// One entry of the quorum's log.
pub fn encode_records(records: &[MetadataRecord]) -> Vec<u8> {
    encode(records)
}

/// Records of a kind that this release does not know are named in the error.
pub fn decode_records(bytes: &[u8]) -> Result<Vec<MetadataRecord>, DecodeError> {
    decode(bytes).map_err(|error| match unknown_kind(bytes) {
        Some(kind) => DecodeError::UnknownKind(kind),
        None => error,
    })
}

fn unknown_kind(bytes: &[u8]) -> Option<String> {
    let kinds: Vec<Kind> = decode(bytes).ok()?;
    kinds.into_iter().map(|kind| kind.0).find(|kind| !level::is_known(kind))
}

/// The name of a record's kind, whatever the record contains.
struct Kind(String);

impl<'de> Deserialize<'de> for Kind {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Kind, D::Error> {
        struct Name;
        impl<'de> serde::de::Visitor<'de> for Name {
            type Value = Kind;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a record behind the name of its kind")
            }

            fn visit_str<E: serde::de::Error>(self, kind: &str) -> Result<Kind, E> {
                Ok(Kind(kind.to_owned()))
            }

            fn visit_map<A: serde::de::MapAccess<'de>>(self, mut map: A) -> Result<Kind, A::Error> {
                let first = map.next_entry::<String, serde::de::IgnoredAny>()?;
                let missing = || serde::de::Error::custom("a record without a kind");
                first.map(|(kind, _)| Kind(kind)).ok_or_else(missing)
            }
        }
        deserializer.deserialize_any(Name)
    }
}

pub fn encode_request(request: &ControllerRequest) -> Vec<u8> {
    encode(request)
}

pub fn decode_request(bytes: &[u8]) -> Result<ControllerRequest, DecodeError> {
    decode(bytes)
}

pub fn encode_response(response: &ControllerResponse) -> Vec<u8> {
    encode(response)
}

pub fn decode_response(bytes: &[u8]) -> Result<ControllerResponse, DecodeError> {
    decode(bytes)
}

fn encode<T: Serialize + ?Sized>(value: &T) -> Vec<u8> {
    let mut bytes = vec![VERSION];
    rmp_serde::encode::write_named(&mut bytes, value)
        .expect("invariant: these types serialize, and a Vec takes any write");
    bytes
}

fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, DecodeError> {
    if bytes.len() > RECORDS_BYTES_MAX {
        return Err(DecodeError::TooLarge(bytes.len()));
    }
    match bytes.split_first() {
        None => Err(DecodeError::Truncated),
        Some((&VERSION, payload)) => Ok(rmp_serde::from_slice(payload)?),
        Some((&version, _)) => Err(DecodeError::UnsupportedVersion(version)),
    }
}

/// A snapshot's contents; the image's indexes are rebuilt from them.
#[derive(Serialize, Deserialize)]
struct Snapshot {
    cluster_id: Arc<str>,
    offset: i64,
    controller: Option<(BrokerId, i64)>,
    #[serde(default)]
    file_min_isr: Option<i32>,
    next_producer_id: ProducerId,
    next_broker_epoch: BrokerEpoch,
    brokers: Vec<Arc<Broker>>,
    topics: Vec<SnapshotTopic>,
    configs: Vec<(ConfigResource, ConfigMap)>,
    features: Vec<(Arc<str>, i16)>,
    #[serde(default)]
    written_level: i16,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    acls: Vec<AccessControlEntryRecord>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    scram: Vec<UserScramCredentialRecord>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    quotas: Vec<(QuotaEntity, QuotaValues)>,
}

#[derive(Serialize, Deserialize)]
struct SnapshotTopic {
    name: Arc<str>,
    id: TopicId,
    partitions: Vec<Arc<Partition>>,
}

impl Image {
    /// The image as a snapshot: magic, version, checksum and contents.
    pub fn encode(&self) -> Vec<u8> {
        let topics = self.topics.values().map(|topic| SnapshotTopic {
            name: topic.name.clone(),
            id: topic.id,
            partitions: topic.partitions.iter().cloned().collect(),
        });
        let acls = self.acls.iter();
        let acls = acls.map(|(id, acl)| AccessControlEntryRecord::of(id, (**acl).clone()));
        let scram = self.scram.users().flat_map(|(name, all)| {
            all.iter().map(|(mechanism, credential)| UserScramCredentialRecord {
                name: name.clone(),
                mechanism: *mechanism,
                credential: credential.clone(),
            })
        });
        let snapshot = Snapshot {
            cluster_id: self.cluster_id.clone(),
            offset: self.offset,
            controller: self.controller,
            file_min_isr: self.file_min_isr,
            next_producer_id: self.next_producer_id,
            next_broker_epoch: self.next_broker_epoch,
            brokers: self.brokers.values().cloned().collect(),
            topics: topics.collect(),
            configs: self.configs.iter().map(|(k, v)| (k.clone(), v.clone())).collect(),
            features: self.features.iter().map(|(k, v)| (k.clone(), *v)).collect(),
            written_level: self.written_level,
            acls: acls.collect(),
            scram: scram.collect(),
            quotas: self.quotas.iter().map(|(k, v)| (k.clone(), v.clone())).collect(),
        };
        let mut bytes = vec![0; SNAPSHOT_HEADER_BYTES];
        rmp_serde::encode::write_named(&mut bytes, &snapshot)
            .expect("invariant: these types serialize, and a Vec takes any write");
        let (header, payload) = bytes.split_at_mut(SNAPSHOT_HEADER_BYTES);
        header[..4].copy_from_slice(&SNAPSHOT_MAGIC);
        header[4] = VERSION;
        header[5..9].copy_from_slice(&crc32c(payload).to_be_bytes());
        header[9..].copy_from_slice(&(payload.len() as u64).to_be_bytes());
        bytes
    }

    /// Reads a snapshot. Whatever it contains, the result is consistent in itself.
    pub fn decode(bytes: &[u8]) -> Result<Image, DecodeError> {
        let snapshot: Snapshot = rmp_serde::from_slice(snapshot_payload(bytes)?)?;
        let mut image = Image::new(snapshot.cluster_id);
        image.offset = snapshot.offset;
        image.controller = snapshot.controller;
        image.file_min_isr = snapshot.file_min_isr;
        image.next_producer_id = snapshot.next_producer_id;
        image.next_broker_epoch = snapshot.next_broker_epoch;
        image.brokers = snapshot.brokers.into_iter().map(|b| (b.id, b)).collect();
        image.configs = snapshot.configs.into_iter().collect();
        image.features = snapshot.features.into_iter().collect();
        image.written_level = snapshot.written_level;
        image.quotas = snapshot.quotas.into_iter().collect();
        for topic in snapshot.topics {
            let partitions = topic.partitions.into_iter().collect();
            image.restore_topic(Topic { name: topic.name, id: topic.id, partitions });
        }
        for acl in snapshot.acls {
            let inserted = image.acls.insert(acl.id, Arc::new(acl.acl()));
            inserted.map_err(|error| DecodeError::Inconsistent(error.to_string()))?;
        }
        for r in snapshot.scram {
            image.scram.insert(r.name, r.mechanism, r.credential);
        }
        image.validate_structure().map_err(DecodeError::Inconsistent)?;
        Ok(image)
    }
}

fn snapshot_payload(bytes: &[u8]) -> Result<&[u8], DecodeError> {
    if bytes.len() > SNAPSHOT_BYTES_MAX {
        return Err(DecodeError::TooLarge(bytes.len()));
    }
    let Some((header, payload)) = bytes.split_at_checked(SNAPSHOT_HEADER_BYTES) else {
        return Err(DecodeError::Truncated);
    };
    if header[..4] != SNAPSHOT_MAGIC {
        return Err(DecodeError::BadMagic);
    }
    if header[4] != VERSION {
        return Err(DecodeError::UnsupportedVersion(header[4]));
    }
    if header[9..] != (payload.len() as u64).to_be_bytes() {
        return Err(DecodeError::Truncated);
    }
    if header[5..9] != crc32c(payload).to_be_bytes() {
        return Err(DecodeError::BadChecksum);
    }
    Ok(payload)
}

fn crc32c(bytes: &[u8]) -> u32 {
    crc_fast::checksum(CrcAlgorithm::Crc32Iscsi, bytes) as u32
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
#[path = "codec_tests.rs"]
mod tests;
