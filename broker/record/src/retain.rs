//! Taking records out of a batch, as a log cleaner does. Offsets, sequence numbers, epoch and
//! producer stay those of the batch as it was appended: consumers, followers and what is known of
//! producers meet no other history, only fewer records (KIP-534 for the delete horizon).

use std::io;

use base::TimestampMs;

use crate::batch::{HEADER_BYTES, LENGTH_OVERHEAD, NO_TIMESTAMP};
use crate::{Batch, BatchHeader, Compression, Records, TimestampType, compress, varint};

/// The batch with those of its records only whose number (from 0) `keep` names, which are some.
/// With a delete horizon its tombstones and markers may go from that time on. `records` are the
/// batch's own.
pub fn retain(
    batch: &Batch<'_>,
    records: &Records<'_>,
    keep: impl Fn(usize) -> bool,
    delete_horizon: Option<TimestampMs>,
) -> io::Result<Vec<u8>> {
    let header = &batch.header;
    let codec = header.compression().map_err(io::Error::other)?;
    let (mut body, mut count) = (Vec::new(), 0);
    let mut max_timestamp = NO_TIMESTAMP;
    for (at, framed) in records.framed().enumerate() {
        let framed = framed.map_err(io::Error::other)?;
        if !keep(at) {
            continue;
        }
        count += 1;
        max_timestamp = max_timestamp.max(framed.record.timestamp);
        match delete_horizon {
            None => body.extend_from_slice(framed.bytes),
            Some(base) => {
                let delta = framed.record.timestamp.wrapping_sub(base);
                let len = 1 + varint::len_i64(delta) + framed.tail.len();
                varint::write_i32(&mut body, len as i32);
                body.push(framed.attributes);
                varint::write_i64(&mut body, delta);
                body.extend_from_slice(framed.tail);
            }
        }
    }
    if codec != Compression::None {
        body = compress(codec, None, &body)?;
    }
    let max_timestamp = match header.attributes.timestamp_type() {
        TimestampType::CreateTime => max_timestamp,
        TimestampType::LogAppendTime => header.max_timestamp,
    };
    let attributes = match delete_horizon {
        Some(_) => header.attributes.with_delete_horizon(true),
        None => header.attributes,
    };
    let base_timestamp = delete_horizon.unwrap_or(header.base_timestamp);
    debug_assert!(count <= header.record_count, "{count} records of {}", header.record_count);
    let header =
        BatchHeader { attributes, base_timestamp, max_timestamp, record_count: count, ..*header };
    assemble(header, &body)
}

/// The batch without any record: what it says of its producer and of offsets.
pub fn without_records(header: &BatchHeader) -> io::Result<Vec<u8>> {
    let attributes = header.attributes.with_codec(Compression::None).with_delete_horizon(false);
    let header =
        BatchHeader { attributes, base_timestamp: NO_TIMESTAMP, record_count: 0, ..*header };
    assemble(header, &[])
}

fn assemble(header: BatchHeader, body: &[u8]) -> io::Result<Vec<u8>> {
    let length = HEADER_BYTES - LENGTH_OVERHEAD + body.len();
    let length = i32::try_from(length).map_err(|_| io::ErrorKind::FileTooLarge)?;
    let header = BatchHeader { length, ..header }.with_crc_of(body);
    let mut out = Vec::with_capacity(HEADER_BYTES + body.len());
    let mut head = [0; HEADER_BYTES];
    header.write(&mut head);
    out.extend_from_slice(&head);
    out.extend_from_slice(body);
    debug_assert_eq!(header.size(), out.len(), "a batch is as long as it says");
    Ok(out)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::{BatchBuilder, BatchOptions, Record, records};

    fn batch(compression: Compression) -> Vec<u8> {
        let options = BatchOptions {
            base_offset: 40,
            leader_epoch: 3,
            compression,
            producer_id: 7,
            producer_epoch: 2,
            base_sequence: 9,
            ..BatchOptions::default()
        };
        let mut builder = BatchBuilder::new(options);
        for i in 0..6i64 {
            let (key, value) = (format!("k{i}"), format!("v{i}"));
            let value = (i != 3).then_some(value.as_bytes());
            let header = [("h", Some(b"x".as_slice()))];
            builder.append(1000 + 10 * i, Some(key.as_bytes()), value, &header);
        }
        builder.finish()
    }

    fn describe(record: &Record<'_>) -> (i64, i64, Option<Vec<u8>>, Option<Vec<u8>>, usize) {
        let owned = |bytes: Option<&[u8]>| bytes.map(<[u8]>::to_vec);
        let headers = record.headers().count();
        (record.offset, record.timestamp, owned(record.key), owned(record.value), headers)
    }

    #[test]
    fn what_is_kept_is_as_it_was() {
        for codec in [Compression::None, Compression::Gzip, Compression::Zstd, Compression::Lz4] {
            for horizon in [None, Some(5_000_000_000)] {
                let bytes = batch(codec);
                let whole = Batch::parse(&bytes).unwrap();
                let all = records(&whole, 1 << 20).unwrap();
                let made = retain(&whole, &all, |at| at % 2 == 1, horizon).unwrap();
                let made = Batch::parse(&made).unwrap();
                made.check_crc().unwrap();
                let found = records(&made, 1 << 20).unwrap();
                let found: Vec<_> = found.iter().map(|r| describe(&r.unwrap())).collect();
                let expected: Vec<_> =
                    all.iter().map(|r| describe(&r.unwrap())).skip(1).step_by(2).collect();
                assert_eq!(found, expected, "{codec:?} {horizon:?}");
                let (is, was) = (made.header, whole.header);
                assert_eq!((is.base_offset, is.last_offset()), (40, 45));
                assert_eq!((is.base_sequence, is.last_sequence()), (9, was.last_sequence()));
                assert_eq!((is.producer_id, is.producer_epoch, is.leader_epoch), (7, 2, 3));
                assert_eq!((is.record_count, is.max_timestamp), (3, 1050));
                assert_eq!(is.attributes.has_delete_horizon(), horizon.is_some());
                assert_eq!(is.delete_horizon(), horizon);
            }
        }
    }

    #[test]
    fn an_empty_batch_speaks_of_its_producer() {
        let bytes = batch(Compression::Lz4);
        let whole = Batch::parse(&bytes).unwrap();
        let made = without_records(&whole.header).unwrap();
        let made = Batch::parse(&made).unwrap();
        made.check_crc().unwrap();
        assert_eq!((made.bytes.len(), made.header.record_count), (HEADER_BYTES, 0));
        assert_eq!(made.header.last_sequence(), whole.header.last_sequence());
        assert_eq!(made.header.last_offset(), 45);
        assert_eq!(records(&made, 10).unwrap().iter().count(), 0);
    }
}
