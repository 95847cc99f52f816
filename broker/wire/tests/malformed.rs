//! Bytes that are not messages: no panic, no allocation from a claimed length, a typed error or a
//! message that can be encoded again.

#![allow(clippy::unwrap_used)]

mod support;

use bytes::Bytes;
use proptest::prelude::*;
use support::notation::{Kind, Message};
use support::{Interpreter, Random, schema};
use wire::header::RequestHeader;
use wire::messages::{
    DescribeTopicPartitionsResponse, FetchRequest, MetadataRequest, ProduceRequest,
};
use wire::{AnyRequest, AnyResponse, ApiKey, DecodeError, Reader, Writer};

/// Decodes; what was understood must be encodable and decode to the same again.
fn exercise(kind: Kind, key: ApiKey, version: i16, bytes: Bytes) {
    let mut r = Reader::new(bytes);
    let mut w = Writer::new();
    match kind {
        Kind::Request => {
            let Ok(decoded) = AnyRequest::decode(key, version, &mut r) else { return };
            decoded.encode(&mut w, version).unwrap();
            let again = AnyRequest::decode(key, version, &mut Reader::new(w.into_bytes().unwrap()));
            // Text, because a NaN differs from itself.
            assert_eq!(format!("{:?}", again.unwrap()), format!("{decoded:?}"));
        }
        _ => {
            let Ok(decoded) = AnyResponse::decode(key, version, &mut r) else { return };
            decoded.encode(&mut w, version).unwrap();
            let again =
                AnyResponse::decode(key, version, &mut Reader::new(w.into_bytes().unwrap()));
            assert_eq!(format!("{:?}", again.unwrap()), format!("{decoded:?}"));
        }
    }
}

fn api_messages() -> Vec<Message> {
    let mut messages = schema();
    messages.retain(|m| matches!(m.kind, Kind::Request | Kind::Response));
    messages
}

#[test]
fn damaged_messages_are_errors_or_other_messages() {
    for message in &api_messages() {
        let key = ApiKey::from_i16(message.key.unwrap()).unwrap();
        for version in message.versions.first..=message.versions.last {
            let mut random = Random::new(version as u64 + 77);
            let source = Some(Random::new(random.next()));
            let bytes = Interpreter { message, version, random: source }.bytes();
            for _ in 0..40 {
                let mut damaged = bytes.clone();
                match random.below(3) {
                    0 => damaged.truncate(random.below(bytes.len() as u64 + 1) as usize),
                    1 if !bytes.is_empty() => {
                        let at = random.below(bytes.len() as u64) as usize;
                        damaged[at] = random.next() as u8;
                    }
                    _ => {
                        // The largest length in either encoding, somewhere.
                        let at = random.below(bytes.len() as u64 + 1) as usize;
                        let huge: &[u8] = if random.one_in(2) {
                            &[0x7f, 0xff, 0xff, 0xff]
                        } else {
                            &[0xff, 0xff, 0xff, 0xff, 0x07]
                        };
                        damaged.splice(at..at, huge.iter().copied());
                    }
                }
                exercise(message.kind, key, version, damaged.into());
            }
        }
    }
}

/// Small numbers are often valid lengths, so that decoding gets further than the first field.
fn body() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(prop_oneof![Just(0u8), Just(1), Just(2), any::<u8>()], 0..120)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(20_000))]

    #[test]
    fn random_bytes_never_panic(
        key in 0i16..96,
        pick in any::<prop::sample::Index>(),
        request in any::<bool>(),
        bytes in body(),
    ) {
        if let Some(key) = ApiKey::from_i16(key) {
            let versions: Vec<i16> = key.versions().collect();
            let version = versions[pick.index(versions.len())];
            let kind = if request { Kind::Request } else { Kind::Response };
            exercise(kind, key, version, bytes.into());
        }
    }

    #[test]
    fn random_headers_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
        let _ = RequestHeader::decode(&mut Reader::new(bytes));
    }
}

#[test]
fn a_claimed_count_is_compared_with_the_frame() {
    // Produce v11: no transactional id, acks, timeout, then 2^31-2 topics.
    let body = [0, 0, 1, 0, 0, 0, 1, 0xff, 0xff, 0xff, 0xff, 0x07];
    let error = ProduceRequest::decode(&mut Reader::new(body.to_vec()), 11);
    let remaining = 0;
    let count = i32::MAX as usize - 1;
    assert_eq!(error, Err(DecodeError::CountTooLarge { count, remaining }));
    // In the older encoding, and with some bytes behind it.
    let mut body = vec![0xff, 0xff, 0, 1, 0, 0, 0, 1, 0x7f, 0xff, 0xff, 0xff];
    body.extend([0; 100]);
    let error = ProduceRequest::decode(&mut Reader::new(body), 7);
    let count = i32::MAX as usize;
    assert_eq!(error, Err(DecodeError::CountTooLarge { count, remaining: 100 }));
}

/// Names of one byte take three on the wire, and many times that when they are decoded.
#[test]
fn values_take_a_bounded_multiple_of_their_frame() {
    const COUNT: usize = 100_000;
    // Metadata v4: topics, and whether to create them.
    let mut body = (COUNT as i32).to_be_bytes().to_vec();
    body.extend((0..COUNT).flat_map(|_| [0, 1, b'a']));
    body.push(0);
    let mut reader = Reader::new(body.clone());
    let request = MetadataRequest::decode(&mut reader, 4).unwrap();
    let topics = request.topics.unwrap();
    assert!(reader.memory() >= COUNT + size_of_val(&topics[..]));
    let memory_max = 2 * body.len();
    let error = MetadataRequest::decode(&mut Reader::with_memory_max(body, memory_max), 4);
    assert_eq!(error, Err(DecodeError::TooMuchMemory { memory_max }));
}

#[test]
fn an_array_reserves_little_before_its_elements_arrive() {
    // 40,000 bytes could hold 2,500 of these; the first one is damaged.
    let mut r = Reader::new([vec![0, 0, 9, 0xc4], vec![0xff; 40_000]].concat());
    let mut reserved = 0;
    let outcome: Result<Vec<[u64; 100]>, _> = r.vec(false, 16, "test", |r| {
        reserved += 1;
        Err(DecodeError::Truncated { needed: 1, remaining: r.remaining() })
    });
    assert!(outcome.is_err());
    assert_eq!(reserved, 1, "decoding stops at the first bad element");
}

#[test]
fn a_known_tag_in_a_version_without_it_is_an_error_and_an_unknown_one_is_skipped() {
    // A whole Fetch v12 request, up to its tagged fields.
    let mut w = Writer::new();
    FetchRequest { replica_id: 1, ..Default::default() }.encode(&mut w, 12).unwrap();
    let bytes = w.into_bytes().unwrap();
    let body = bytes.strip_suffix(&[0]).unwrap();
    let with = |tags: &[u8]| {
        FetchRequest::decode(&mut Reader::new([body, tags].concat()), 12).map(|r| r.replica_id)
    };
    // ReplicaState has tag 1 from version 15 on.
    let field = "FetchRequest.replica_state";
    let error = DecodeError::TagVersion { field, tag: 1, version: 12 };
    assert_eq!(with(&[1, 1, 13, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 3, 0]), Err(error));
    assert_eq!(with(&[1, 99, 3, 1, 2, 3]), Ok(1));
    assert_eq!(with(&[2, 99, 0, 98, 0]), Err(DecodeError::TagOrder { tag: 98 }));
    assert_eq!(with(&[2, 99, 0, 99, 0]), Err(DecodeError::TagOrder { tag: 99 }));
    assert_eq!(with(&[1, 0, 3, 0, 0, 0]), Err(DecodeError::TagSize { tag: 0, unread: 2 }));
    let error = DecodeError::Truncated { needed: 2, remaining: 3 };
    assert_eq!(with(&[1, 99, 5, 1, 2, 3]), Err(error));
}

#[test]
fn any_marker_that_is_not_negative_means_a_struct_is_present() {
    // No throttle time, no topics, then the cursor.
    let head = [0, 0, 0, 0, 1];
    let cursor = [2, b't', 0, 0, 0, 5, 0, 0];
    for (marker, present) in [(0u8, true), (1, true), (0x7f, true)] {
        let bytes = [&head[..], &[marker], &cursor[..]].concat();
        let decoded = DescribeTopicPartitionsResponse::decode(&mut Reader::new(bytes), 0).unwrap();
        assert_eq!(decoded.next_cursor.is_some(), present, "marker {marker}");
    }
    for marker in [0x80, 0xff] {
        let bytes = [&head[..], &[marker, 0]].concat();
        let decoded = DescribeTopicPartitionsResponse::decode(&mut Reader::new(bytes), 0).unwrap();
        assert_eq!(decoded.next_cursor, None, "marker {marker}");
    }
}

/// As Kafka's own decoder, which no client can make close the connection by its encoding.
#[test]
fn text_that_is_not_utf8_is_read_with_replacement_characters() {
    let read = |bytes: &[u8]| Reader::new(bytes.to_vec()).string(true, "f").unwrap();
    assert_eq!(read(&[2, 0xff]), "\u{fffd}");
    assert_eq!(read(b"\x05k\xf6ln"), "k\u{fffd}ln");
    assert_eq!(read("\u{6}k\u{f6}ln".as_bytes()).len(), 5);
    let header = [&[0, 18, 0, 0, 0, 0, 0, 7, 0, 2][..], &[0xfe, b'x']].concat();
    let header = RequestHeader::decode(&mut Reader::new(header)).unwrap();
    assert_eq!(header.client_id.as_deref(), Some("\u{fffd}x"));
}

#[test]
fn arrays_and_tags_beyond_kafkas_bounds_are_refused() {
    let count = wire::ARRAY_ELEMENTS_MAX + 1;
    let bytes = [&(count as i32).to_be_bytes()[..], &vec![0; count]].concat();
    let read = Reader::new(bytes).vec(false, 1, "f", |r| r.u8());
    assert_eq!(read, Err(DecodeError::TooManyElements { count }));
    let tags = Reader::new(vec![0x91, 0x4e]).skip_tags();
    assert_eq!(tags, Err(DecodeError::TooManyTags { count: 10_001 }));
}

#[test]
fn primitive_lengths_are_checked() {
    let read = |bytes: &[u8]| Reader::new(bytes.to_vec());
    let negative = DecodeError::NegativeLength { length: -2 };
    assert_eq!(read(&[0xff, 0xfe]).nullable_string(false), Err(negative));
    assert_eq!(read(&[0xff, 0xff]).nullable_string(false), Ok(None));
    let null = DecodeError::UnexpectedNull { field: "f" };
    assert_eq!(read(&[0xff, 0xff]).string(false, "f"), Err(null));
    assert_eq!(read(&[0]).string(true, "f"), Err(null));
    let mut long = read(&[&[0x81, 0x80, 0x02][..], &[b'a'; 0x8000]].concat());
    assert_eq!(long.string(true, "f"), Err(DecodeError::StringTooLong { length: 0x8000 }));
    let truncated = DecodeError::Truncated { needed: 1, remaining: 1 };
    assert_eq!(read(&[3, b'a']).string(true, "f"), Err(truncated));
    assert_eq!(read(&[0, 0, 0, 2, 9]).nullable_bytes(false), Err(truncated));
    assert_eq!(read(&[0xff, 0xff, 0xff, 0xff, 0x0f]).uvarint(), Ok(u32::MAX));
    for bytes in [[0xff, 0xff, 0xff, 0xff, 0x1f, 0], [0x80, 0x80, 0x80, 0x80, 0x80, 0]] {
        assert_eq!(read(&bytes).uvarint(), Err(DecodeError::VarintTooLong));
    }
}
