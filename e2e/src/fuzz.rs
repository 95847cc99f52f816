//! Bytes that no client would send, at the splitting of frames, at every decoder of requests, their
//! headers and responses, at the batch validator, at authentication and at the first bytes of TLS:
//! random ones, and valid messages with a few bytes changed. The rules: no panic, no allocation
//! from an unchecked length (the process lives in a small address space), and what was decoded
//! encodes and decodes again to the same value. Seeded: a failure names the seed that repeats it.

mod security;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use bytes::{Bytes, BytesMut};
use record::{
    BatchBuilder, BatchOptions, Compression, Origin, Rules, TargetCompression, TimestampType,
};
use wire::frame::{self, Split};
use wire::header::RequestHeader;
use wire::{AnyRequest, AnyResponse, ApiKey, Part, Reader, Writer};

/// Address space of the process: far more than the cases need, and less than the `i32::MAX` bytes
/// that an unchecked length asks for.
const ADDRESS_SPACE_BYTES: u64 = 1 << 30;
/// Cases made from one seed; fewer where each is a connection.
const CASES_PER_SEED: u64 = 400;
const CONNECTIONS_PER_SEED: u64 = 40;
/// Kinds of cases; those above are requests.
const BATCH: usize = 0;
const STREAM: usize = 1;
const RESPONSE: usize = 2;
const SASL: usize = 3;
const TLS: usize = 4;
const KINDS: usize = 7;
/// Accepted inputs kept to be changed further.
const STOCK_MAX: usize = 16;
const INPUT_BYTES_MAX: usize = 4096;
/// What a broker allows by default.
const FRAME_BYTES_MAX: usize = 100 << 20;

/// What a run has done.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counts {
    pub cases: u64,
    /// Inputs that a decoder or the validator accepted.
    pub accepted: u64,
}

/// A small generator (splitmix64): all that fuzzing needs is that a seed repeats.
#[derive(Clone, Debug)]
pub struct Rng(u64);

impl Rng {
    pub fn new(seed: u64) -> Rng {
        Rng(seed ^ 0x9e37_79b9_7f4a_7c15)
    }

    pub fn word(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, bound: usize) -> usize {
        // A remainder is uniform enough for picking cases.
        (self.word() % bound.max(1) as u64) as usize
    }

    fn byte(&mut self) -> u8 {
        // Lengths, markers and their neighbours are where decoders go wrong.
        const EDGES: [u8; 10] = [0, 1, 2, 0x7f, 0x80, 0x81, 0xfe, 0xff, 0x10, 0x40];
        match self.below(3) {
            0 => EDGES[self.below(EDGES.len())],
            _ => self.word() as u8,
        }
    }
}

/// Limits the address space, so that an allocation from an unchecked length ends the process.
pub fn limit_memory() -> Result<()> {
    use rustix::process::{Resource, Rlimit, setrlimit};
    let limit = Some(ADDRESS_SPACE_BYTES);
    Ok(setrlimit(Resource::As, Rlimit { current: limit, maximum: limit })?)
}

/// Fuzzes from a seed on until the time is up.
pub fn run(first_seed: u64, limit: Duration) -> Result<Counts> {
    let start = Instant::now();
    let mut counts = Counts::default();
    let mut seed = first_seed;
    while start.elapsed() < limit {
        run_seed(seed, &mut counts)?;
        seed += 1;
    }
    Ok(counts)
}

/// The seed under way, for a panic that does not unwind.
pub static SEED: AtomicU64 = AtomicU64::new(0);

/// The cases of one seed: one message in one version (or one of the other kinds), whose accepted
/// inputs become the stock of the next ones, so that they grow.
pub fn run_seed(seed: u64, counts: &mut Counts) -> Result<()> {
    SEED.store(seed, Ordering::Relaxed);
    let mut rng = Rng::new(seed);
    let kind = rng.below(KINDS);
    let api = any_api(&mut rng);
    let mut stock = Vec::new();
    for case in 0..if kind == TLS { CONNECTIONS_PER_SEED } else { CASES_PER_SEED } {
        let mut accepted = false;
        let one = AssertUnwindSafe(|| accepted = one_case(&mut rng, kind, api, &mut stock));
        if catch_unwind(one).is_err() {
            bail!("panic in case {case} of seed {seed}: repeat with `cargo x fuzz --seed {seed}`");
        }
        counts.cases += 1;
        counts.accepted += u64::from(accepted);
    }
    Ok(())
}

fn one_case(rng: &mut Rng, kind: usize, api: (ApiKey, i16), stock: &mut Vec<Bytes>) -> bool {
    let bytes = match kind {
        BATCH => return batch(rng),
        SASL => return security::conversation(rng),
        TLS => return security::hello(rng),
        STREAM => stream(rng, api, stock),
        _ => input(rng, stock),
    };
    let accepted = match kind {
        STREAM => received(&bytes),
        RESPONSE => response(api, bytes.clone()),
        _ => request(api, bytes.clone()),
    };
    if accepted {
        if stock.len() >= STOCK_MAX {
            stock.swap_remove(rng.below(STOCK_MAX));
        }
        stock.push(bytes);
    }
    accepted
}

fn any_api(rng: &mut Rng) -> (ApiKey, i16) {
    let all: Vec<ApiKey> = ApiKey::all().collect();
    let api = all[rng.below(all.len())];
    let versions = api.versions();
    let count = usize::try_from(versions.end() - versions.start() + 1).unwrap_or(1);
    let version = versions.start() + i16::try_from(rng.below(count)).unwrap_or(0);
    (api, version)
}

/// What a connection receives: frames, each of a header and of the body that the header names.
fn received(bytes: &[u8]) -> bool {
    let (mut buffer, mut whole) = (BytesMut::from(bytes), 0);
    loop {
        let frame = match frame::split(&mut buffer, FRAME_BYTES_MAX) {
            Ok(Split::Frame(frame)) => frame,
            // So much is reserved for the rest.
            Ok(Split::Need(count)) => {
                assert!((1..=FRAME_BYTES_MAX).contains(&count), "{count} bytes are asked for");
                break;
            }
            Err(_) => break,
        };
        let mut reader = Reader::new(frame);
        let Ok(header) = RequestHeader::decode(&mut reader) else { break };
        if let Some(bytes) = encoded(|w| header.encode(w).is_ok()) {
            let again = RequestHeader::decode(&mut Reader::new(bytes));
            assert!(again.is_ok_and(|again| same(&again, &header)), "{header:?}");
        }
        if !header.api_key.supports(header.api_version)
            || AnyRequest::decode(header.api_key, header.api_version, &mut reader).is_err()
        {
            break;
        }
        whole += 1;
    }
    whole > 0
}

fn request((api, version): (ApiKey, i16), body: Bytes) -> bool {
    let Ok(message) = AnyRequest::decode(api, version, &mut Reader::new(body)) else {
        return false;
    };
    // Where the encoder has no objection, the value must survive its own encoding.
    if let Some(bytes) = encoded(|w| message.encode(w, version).is_ok()) {
        let again = AnyRequest::decode(api, version, &mut Reader::new(bytes));
        assert!(again.is_ok_and(|again| same(&again, &message)), "{api:?} {version}: {message:?}");
    }
    true
}

fn response((api, version): (ApiKey, i16), body: Bytes) -> bool {
    let Ok(message) = AnyResponse::decode(api, version, &mut Reader::new(body)) else {
        return false;
    };
    if let Some(bytes) = encoded(|w| message.encode(w, version).is_ok()) {
        let again = AnyResponse::decode(api, version, &mut Reader::new(bytes));
        assert!(again.is_ok_and(|again| same(&again, &message)), "{api:?} {version}: {message:?}");
    }
    true
}

/// Equality by what is printed: a float that is not a number differs from itself.
fn same(a: &impl std::fmt::Debug, b: &impl std::fmt::Debug) -> bool {
    format!("{a:?}") == format!("{b:?}")
}

fn encoded(encode: impl FnOnce(&mut Writer) -> bool) -> Option<Bytes> {
    let mut w = Writer::new();
    if !encode(&mut w) {
        return None;
    }
    let mut bytes = Vec::new();
    for part in w.finish() {
        let Part::Bytes(part) = part else { return None };
        bytes.extend_from_slice(&part);
    }
    Some(bytes.into())
}

/// Random bytes, or one that was accepted before, with changes.
fn input(rng: &mut Rng, stock: &[Bytes]) -> Bytes {
    let mut bytes: Vec<u8> = match stock.get(rng.below(stock.len() + 1)) {
        Some(stocked) => stocked.to_vec(),
        // Zeros are a valid message of most APIs: empty strings, empty arrays.
        None if rng.below(2) == 0 => vec![0; rng.below(64)],
        None => (0..rng.below(200)).map(|_| rng.byte()).collect(),
    };
    mutate(rng, &mut bytes);
    bytes.truncate(INPUT_BYTES_MAX);
    bytes.into()
}

/// Some frames with bodies of zeros, or a stream that was accepted before, with changes.
fn stream(rng: &mut Rng, api: (ApiKey, i16), stock: &[Bytes]) -> Bytes {
    let mut bytes = match stock.get(rng.below(stock.len() + 1)) {
        Some(stocked) => stocked.to_vec(),
        None => (0..=rng.below(2)).flat_map(|_| whole_frame(rng, api)).collect(),
    };
    mutate(rng, &mut bytes);
    bytes.truncate(INPUT_BYTES_MAX);
    // Half of the time the first frame is all that came, so that the changes reach its inside.
    if bytes.len() >= frame::PREFIX_BYTES && rng.below(2) == 0 {
        let length = u32::try_from(bytes.len() - frame::PREFIX_BYTES).unwrap_or(0);
        bytes[..frame::PREFIX_BYTES].copy_from_slice(&length.to_be_bytes());
    }
    bytes.into()
}

fn whole_frame(rng: &mut Rng, (api_key, api_version): (ApiKey, i16)) -> Vec<u8> {
    let client_id = (rng.below(2) == 0).then(|| "a client".into());
    let header = RequestHeader { api_key, api_version, correlation_id: 7, client_id };
    let header = encoded(|w| header.encode(w).is_ok()).unwrap_or_default();
    let body = vec![0; rng.below(64)];
    let length = u32::try_from(header.len() + body.len()).unwrap_or(0);
    [&length.to_be_bytes()[..], &header, &body].concat()
}

fn mutate(rng: &mut Rng, bytes: &mut Vec<u8>) {
    for _ in 0..rng.below(8) {
        let at = rng.below(bytes.len() + 1);
        let byte = rng.byte();
        match rng.below(5) {
            0 if at < bytes.len() => bytes[at] = byte,
            1 => bytes.insert(at, byte),
            2 if at < bytes.len() => drop(bytes.remove(at)),
            3 if rng.below(4) == 0 => bytes.truncate(at),
            _ => {
                let more: Vec<u8> = (0..rng.below(12)).map(|_| rng.byte()).collect();
                bytes.splice(at..at, more);
            }
        }
    }
}

/// A batch with changes; half of the time its checksum is made right again, so that the changes
/// reach what lies behind the checksum.
fn batch(rng: &mut Rng) -> bool {
    let mut bytes = valid_batch(rng);
    mutate(rng, &mut bytes);
    if rng.below(2) == 0 {
        repair(&mut bytes);
    }
    let rules = Rules {
        origin: Origin::Client,
        compacted: rng.below(4) == 0,
        timestamp_type: TimestampType::CreateTime,
        timestamp_before_max_ms: i64::MAX,
        timestamp_after_max_ms: i64::MAX,
        compression: match rng.below(4) {
            0 => TargetCompression::Codec(codec(rng), None),
            _ => TargetCompression::Producer,
        },
        decompressed_record_bytes_max: i32::MAX,
        now_ms: 1_700_000_000_000,
    };
    let accepted = record::validate_bytes(&bytes, &rules).is_ok();
    // Consumers and the log's recovery walk batches that no validator has seen.
    for batch in record::batches(&bytes).take(100) {
        let Ok(batch) = batch else { break };
        let _ = batch.check_crc();
        if let Ok(records) = record::records(&batch, 1 << 20) {
            for record in records.iter().take(1000) {
                let Ok(record) = record else { break };
                record.headers().take(100).for_each(drop);
            }
        }
    }
    accepted
}

fn codec(rng: &mut Rng) -> Compression {
    let id = i16::try_from(rng.below(5)).unwrap_or(0);
    Compression::from_id(id).unwrap_or(Compression::None)
}

fn valid_batch(rng: &mut Rng) -> Vec<u8> {
    let options = BatchOptions { compression: codec(rng), ..BatchOptions::default() };
    let mut builder = BatchBuilder::new(options);
    for i in 0..=rng.below(5) {
        let value: Vec<u8> = (0..rng.below(60)).map(|_| rng.byte()).collect();
        let key = (rng.below(2) == 0).then_some(&value[..value.len() / 2]);
        let headers = [("a header", Some(&value[..])), ("null", None)];
        let timestamp = i64::try_from(i).unwrap_or(0);
        builder.append(timestamp, key, Some(&value), &headers[..rng.below(3)]);
    }
    builder.finish()
}

/// Sets length and checksum of the first batch to what its bytes say.
fn repair(bytes: &mut [u8]) {
    const LENGTH_AT: usize = 8;
    const CRC_AT: usize = 17;
    const BODY_AT: usize = 21;
    if bytes.len() <= BODY_AT {
        return;
    }
    let length = u32::try_from(bytes.len() - LENGTH_AT - 4).unwrap_or(0);
    bytes[LENGTH_AT..LENGTH_AT + 4].copy_from_slice(&length.to_be_bytes());
    let crc = record::crc::crc32c(&bytes[BODY_AT..]);
    bytes[CRC_AT..BODY_AT].copy_from_slice(&crc.to_be_bytes());
}
