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
    assert_eq!(code(&bytes, &stamped), ErrorCode::InvalidTimestamp, "a producer may not stamp");
    // Kafka looks at the range alone where the producer's time counts.
    check(&bytes, &rules()).unwrap();
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

/// A batch of so many MiB of zeros.
fn zeros(compression: Compression, mib: usize) -> Vec<u8> {
    let zeros = vec![0u8; 1 << 20];
    let mut builder = BatchBuilder::new(BatchOptions { compression, ..BatchOptions::default() });
    for _ in 0..mib {
        builder.append(999_999, None, Some(&zeros), &[]);
    }
    builder.finish()
}

/// Java's producer splits a batch that is too large, and retries a corrupt one as it is for ever.
#[test]
fn a_bomb_is_too_large_and_no_memory() {
    for codec in [Compression::Gzip, Compression::Zstd] {
        // A small one, by its ratio: no batch of records expands like that.
        let bytes = zeros(codec, (EXPANSION_FREE >> 20) + 1);
        assert!(bytes.len() * EXPANSION_MAX < EXPANSION_FREE, "{codec:?}");
        assert_eq!(code(&bytes, &rules()), ErrorCode::MessageTooLarge, "{codec:?}");
        assert!(check(&zeros(codec, 8), &rules()).is_ok(), "{codec:?}");
    }
    // Also where the topic stores another codec, which needs all of the records in memory.
    let to = Rules { compression: TargetCompression::Codec(Compression::Snappy, None), ..rules() };
    let bytes = zeros(Compression::None, (REBUILD_BYTES_MAX >> 20) + 1);
    assert_eq!(code(&bytes, &to), ErrorCode::MessageTooLarge);
}

#[test]
fn what_takes_more_effort_than_there_is_is_left_undone() {
    let within = |bytes: &[u8], rules: &Rules, effort: &mut Effort| {
        validate_within(&Batch::parse(bytes).unwrap(), rules, effort).unwrap().is_some()
    };
    for codec in [Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd] {
        let bytes = zeros(codec, 5);
        assert!(!within(&bytes, &rules(), &mut Effort::of(4 << 20)), "{codec:?}");
        let mut effort = Effort::of(11 << 20);
        for is_enough in [true, true, false] {
            assert_eq!(within(&bytes, &rules(), &mut effort), is_enough, "{codec:?}");
        }
        // Somebody has to do the first one.
        let mut effort = Effort::at_least_one(1 << 20);
        for is_enough in [true, false] {
            assert_eq!(within(&bytes, &rules(), &mut effort), is_enough, "{codec:?}");
        }
    }
    let plain = zeros(Compression::None, 5);
    assert!(within(&plain, &rules(), &mut Effort::of(4 << 20)), "its records are skipped");
    let to = Rules { compression: TargetCompression::Codec(Compression::Zstd, None), ..rules() };
    assert!(!within(&plain, &to, &mut Effort::of(4 << 20)), "it is compressed");
    // A window that is too large for so little is no corruption.
    let mut wide = sample(Compression::Zstd);
    let body = {
        let mut encoder = zstd::stream::Encoder::new(Vec::new(), 1).unwrap();
        encoder.window_log(26).unwrap();
        let plain = crate::decompress(Compression::Zstd, &wide[HEADER_BYTES..], 1 << 20).unwrap();
        std::io::Write::write_all(&mut encoder, &plain).unwrap();
        encoder.finish().unwrap()
    };
    wide.truncate(HEADER_BYTES);
    wide.extend_from_slice(&body);
    let wide = with_header(wide, |header| {
        header.length = (HEADER_BYTES - crate::LENGTH_OVERHEAD + body.len()) as i32;
    });
    assert!(!within(&wide, &rules(), &mut Effort::of(4 << 20)));
    assert!(check(&wide, &rules()).is_ok());
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
