//! Outcomes of validation, rule by rule.
#![allow(clippy::unwrap_used)]

use proptest::prelude::*;

use super::*;
use crate::{Attributes, HEADER_BYTES};

fn rules() -> Rules {
    Rules {
        origin: Origin::Client,
        compacted: false,
        timestamp_type: TimestampType::CreateTime,
        timestamp_before_max_ms: i64::MAX,
        timestamp_after_max_ms: 3_600_000,
        compression: TargetCompression::Producer,
        decompressed_record_bytes_max: i32::MAX,
        now_ms: 1_000_000,
    }
}

/// Timestamp, key, value.
type Sample<'a> = (i64, Option<&'a [u8]>, &'a [u8]);

fn build(options: BatchOptions, records: &[Sample<'_>]) -> Vec<u8> {
    let mut builder = BatchBuilder::new(options);
    for (timestamp, key, value) in records {
        builder.append(*timestamp, *key, Some(value), &[("h", Some(b"v")), ("n", None)]);
    }
    builder.finish()
}

fn sample(codec: Compression) -> Vec<u8> {
    let options = BatchOptions { compression: codec, ..BatchOptions::default() };
    let big = vec![b'x'; 40_000];
    build(options, &[(999, Some(b"k"), b"v"), (1001, None, &big), (1000, Some(b""), b"")])
}

/// The batch with a changed header whose CRC is right again.
fn with_header(mut bytes: Vec<u8>, change: impl FnOnce(&mut BatchHeader)) -> Vec<u8> {
    let mut header = BatchHeader::parse(&bytes).unwrap();
    change(&mut header);
    let header = header.with_crc_of(&bytes[HEADER_BYTES..]);
    header.write(bytes.first_chunk_mut().unwrap());
    bytes
}

fn check(bytes: &[u8], rules: &Rules) -> Result<Verdict, Invalid> {
    validate(&Batch::parse(bytes).unwrap(), rules)
}

fn code(bytes: &[u8], rules: &Rules) -> ErrorCode {
    check(bytes, rules).unwrap_err().code
}

#[test]
fn a_good_batch_of_any_codec_stands_as_it_is() {
    for codec in Compression::ALL {
        let bytes = sample(codec);
        let verdict = check(&bytes, &rules()).unwrap();
        assert_eq!(verdict.header, BatchHeader::parse(&bytes).unwrap(), "{codec:?}");
        assert_eq!(verdict.rebuilt, None);
    }
}

#[test]
fn header_rules() {
    let good = sample(Compression::None);
    type Change = fn(&mut BatchHeader);
    let cases: [(&str, Change); 7] = [
        ("base offset", |h| h.base_offset = 5),
        ("count 0", |h| h.record_count = 0),
        ("count and delta differ", |h| h.last_offset_delta = 7),
        ("control", |h| h.attributes = h.attributes.with_control(true)),
        ("producer without sequence", |h| h.producer_id = 1),
        ("unknown codec", |h| h.attributes = Attributes(6)),
        ("more records than there are", |h| {
            h.record_count = 4;
            h.last_offset_delta = 3;
        }),
    ];
    for (name, change) in cases {
        let bytes = with_header(good.clone(), change);
        assert_eq!(code(&bytes, &rules()), ErrorCode::InvalidRecord, "{name}");
    }
    let fewer = with_header(good, |h| {
        h.record_count = 2;
        h.last_offset_delta = 1;
    });
    assert_eq!(code(&fewer, &rules()), ErrorCode::InvalidRecord);
}

#[test]
fn a_flipped_bit_is_a_corrupt_message() {
    let mut bytes = sample(Compression::Lz4);
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    assert_eq!(code(&bytes, &rules()), ErrorCode::CorruptMessage);
}

#[test]
fn compressed_batches_are_counted_too() {
    for codec in Compression::ALL {
        let bytes = with_header(sample(codec), |h| {
            h.record_count = 5;
            h.last_offset_delta = 4;
        });
        assert_eq!(code(&bytes, &rules()), ErrorCode::InvalidRecord, "{codec:?}");
    }
}

#[test]
fn compacted_topics_name_the_records_without_key() {
    let compacted = Rules { compacted: true, ..rules() };
    let invalid = check(&sample(Compression::Zstd), &compacted).unwrap_err();
    assert_eq!(invalid.code, ErrorCode::InvalidRecord);
    assert_eq!(invalid.records.iter().map(|r| r.index).collect::<Vec<_>>(), [1]);
}

#[test]
fn timestamps_outside_the_bounds_are_named() {
    let bytes = build(
        BatchOptions::default(),
        &[(1_000_000, None, b"ok"), (5_000_000, None, b"late"), (-1, None, b"none")],
    );
    let invalid = check(&bytes, &rules()).unwrap_err();
    assert_eq!(invalid.code, ErrorCode::InvalidTimestamp);
    assert_eq!(invalid.records.iter().map(|r| r.index).collect::<Vec<_>>(), [1]);
    let strict = Rules { timestamp_before_max_ms: 10, ..rules() };
    let old = build(BatchOptions::default(), &[(999_000, None, b"old")]);
    assert_eq!(code(&old, &strict), ErrorCode::InvalidTimestamp);
}

#[test]
fn a_producer_may_only_claim_the_brokers_time_where_its_own_counts() {
    let claims = with_header(sample(Compression::None), |header| {
        header.attributes = header.attributes.with_timestamp_type(TimestampType::LogAppendTime);
    });
    let check = |rules: Rules| validate(&Batch::parse(&claims).unwrap(), &rules);
    // Every record has the largest timestamp then, and that is in range.
    let verdict = check(rules()).unwrap();
    assert_eq!(verdict.header.attributes.timestamp_type(), TimestampType::CreateTime);
    assert_eq!(verdict.header.max_timestamp, 1001);
    let strict = Rules { timestamp_before_max_ms: 10, ..rules() };
    assert_eq!(check(strict).unwrap_err().code, ErrorCode::InvalidTimestamp);
    let stamped = Rules { timestamp_type: TimestampType::LogAppendTime, ..rules() };
    assert_eq!(check(stamped).unwrap_err().code, ErrorCode::InvalidTimestamp);
}

#[test]
fn a_compressed_record_may_not_expand_beyond_the_topics_bound() {
    let small = Rules { decompressed_record_bytes_max: 39_999, ..rules() };
    for (codec, expected) in
        [(Compression::None, Ok(())), (Compression::Zstd, Err(ErrorCode::InvalidRecord))]
    {
        let bytes = sample(codec);
        let result = validate(&Batch::parse(&bytes).unwrap(), &small);
        assert_eq!(result.map(drop).map_err(|invalid| invalid.code), expected, "{codec:?}");
    }
}

#[test]
fn log_append_time_stamps_and_hashes_again() {
    let stamped = Rules { timestamp_type: TimestampType::LogAppendTime, ..rules() };
    let mut bytes = sample(Compression::Gzip);
    let verdict = check(&bytes, &stamped).unwrap();
    assert_eq!(verdict.header.max_timestamp, 1_000_000);
    assert_eq!(verdict.header.attributes.timestamp_type(), TimestampType::LogAppendTime);
    verdict.header.write(bytes.first_chunk_mut().unwrap());
    let batch = Batch::parse(&bytes).unwrap();
    batch.check_crc().unwrap();
    for record in records(&batch, 1 << 20).unwrap().iter() {
        assert_eq!(record.unwrap().timestamp, 1_000_000);
    }
    assert_eq!(code(&bytes, &rules()), ErrorCode::InvalidTimestamp, "a producer may not stamp");
}

#[test]
fn a_wrong_max_timestamp_is_corrected() {
    let bytes = with_header(sample(Compression::None), |h| h.max_timestamp = 5);
    let header = check(&bytes, &rules()).unwrap().header;
    assert_eq!(header, BatchHeader::parse(&sample(Compression::None)).unwrap());
}

#[test]
fn the_topics_codec_wins() {
    for target in Compression::ALL {
        let to = Rules { compression: TargetCompression::Codec(target, None), ..rules() };
        let source = sample(Compression::Snappy);
        let verdict = check(&source, &to).unwrap();
        let bytes = verdict.rebuilt.unwrap_or_else(|| source.clone());
        let batch = Batch::parse(&bytes).unwrap();
        batch.check_crc().unwrap();
        assert_eq!(batch.header.compression().unwrap(), target);
        assert_eq!(batch.header, verdict.header);
        let before = Batch::parse(&source).unwrap();
        let (a, b) = (records(&before, 1 << 20).unwrap(), records(&batch, 1 << 20).unwrap());
        let a: Vec<_> = a.iter().map(Result::unwrap).collect();
        let b: Vec<_> = b.iter().map(Result::unwrap).collect();
        assert_eq!(a.len(), 3);
        for (a, b) in a.iter().zip(&b) {
            assert_eq!(
                (a.offset, a.timestamp, a.key, a.value),
                (b.offset, b.timestamp, b.key, b.value)
            );
            assert!(a.headers().eq(b.headers()));
        }
    }
}

#[test]
fn wrong_inner_offsets_are_renumbered() {
    let mut bytes = build(BatchOptions::default(), &[(1, None, b"a"), (2, None, b"b")]);
    // The offset delta of the first record: after length, attributes and timestamp delta.
    bytes[HEADER_BYTES + 3] = 8;
    let bytes = with_header(bytes, |_| ());
    let verdict = check(&bytes, &rules()).unwrap();
    let rebuilt = verdict.rebuilt.unwrap();
    let batch = Batch::parse(&rebuilt).unwrap();
    let offsets: Vec<_> =
        records(&batch, 1000).unwrap().iter().map(|r| r.unwrap().offset).collect();
    assert_eq!(offsets, [0, 1]);
}

#[test]
fn a_bomb_is_corrupt_not_memory() {
    let zeros = vec![0u8; 1 << 20];
    let mut builder = BatchBuilder::new(BatchOptions {
        compression: Compression::Zstd,
        ..BatchOptions::default()
    });
    for _ in 0..(DECOMPRESSED_BYTES_MAX >> 20) + 1 {
        builder.append(1, None, Some(&zeros), &[]);
    }
    let bytes = builder.finish();
    assert!(bytes.len() < 1 << 20);
    assert_eq!(code(&bytes, &rules()), ErrorCode::CorruptMessage);
}

proptest! {
    #[test]
    fn mutated_batches_never_panic(
        codec in 0usize..5,
        flips in prop::collection::vec((0usize..2000, any::<u8>()), 1..6),
        fix_crc: bool,
    ) {
        let compression = Compression::ALL[codec];
        let options = BatchOptions { compression, ..BatchOptions::default() };
        let mut bytes = build(options, &[(1, Some(b"key"), b"value"), (2, None, b"b")]);
        let len = bytes.len();
        for (at, value) in flips {
            bytes[at % len] ^= value;
        }
        if fix_crc && let Ok(mut header) = BatchHeader::parse(&bytes) {
            header = header.with_crc_of(&bytes[HEADER_BYTES..]);
            header.write(bytes.first_chunk_mut().unwrap());
        }
        if let Ok(batch) = Batch::parse(&bytes) {
            let _ = validate(&batch, &rules());
            let _ = records(&batch, 1 << 16).map(|r| r.iter().count());
        }
    }
}
