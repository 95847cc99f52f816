//! A second, independent encoder: it interprets the notation directly and yields the canonical
//! bytes of random messages. What the generated codec, this interpreter and an outside
//! implementation agree on is right.

#![allow(dead_code, clippy::unwrap_used)]

#[path = "../../gen/notation.rs"]
pub mod notation;

use notation::{Field, Message, Type};

/// All messages of `schema/`.
pub fn schema() -> Vec<Message> {
    let dir = concat!(env!("CARGO_MANIFEST_DIR"), "/schema");
    let mut paths: Vec<_> = std::fs::read_dir(dir).unwrap().map(|e| e.unwrap().path()).collect();
    paths.sort();
    let texts = paths.iter().map(|path| std::fs::read_to_string(path).unwrap());
    texts.flat_map(|text| notation::parse(&text).unwrap()).collect()
}

/// xorshift64*: the tests must not depend on the platform's randomness.
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Random {
        Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    pub fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    pub fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }
}

/// Encodes messages of one version: with random fields, or with Kafka's defaults.
pub struct Interpreter<'a> {
    pub message: &'a Message,
    pub version: i16,
    pub random: Option<Random>,
}

impl Interpreter<'_> {
    pub fn bytes(&mut self) -> Vec<u8> {
        let mut out = Vec::new();
        let name = self.message.structs[0].name.clone();
        self.structure(&name, &mut out);
        out
    }

    fn flexible(&self) -> bool {
        self.message.flexible_since.is_some_and(|since| self.version >= since)
    }

    fn structure(&mut self, name: &str, out: &mut Vec<u8>) {
        let message = self.message;
        let each = message.structs.iter().find(|each| each.name == name).unwrap();
        let here = || each.fields.iter().filter(|field| field.versions.contains(self.version));
        let plain: Vec<&Field> = here().filter(|field| field.tag.is_none()).collect();
        let mut tagged: Vec<&Field> = here().filter(|field| field.tag.is_some()).collect();
        for field in plain {
            self.field(field, out);
        }
        if !self.flexible() {
            return;
        }
        tagged.sort_by_key(|field| field.tag);
        let mut present = Vec::new();
        for field in tagged {
            let mut value = Vec::new();
            self.field(field, &mut value);
            let random = self.random.take();
            let mut default = Vec::new();
            self.field(field, &mut default);
            self.random = random;
            if value != default {
                present.push((field.tag.unwrap(), value));
            }
        }
        uvarint(present.len() as u64, out);
        for (tag, value) in present {
            uvarint(u64::from(tag), out);
            uvarint(value.len() as u64, out);
            out.extend(value);
        }
    }

    fn field(&mut self, field: &Field, out: &mut Vec<u8>) {
        let may_be_null = field.nullable.is_some_and(|range| range.contains(self.version));
        let is_struct = matches!(field.ty, Type::Struct(_));
        let null = match &mut self.random {
            Some(random) => may_be_null && random.one_in(4),
            None => {
                let null = field.default.as_deref() == Some("null");
                may_be_null && (null || field.ty == Type::Records)
            }
        };
        if null {
            match (is_struct, self.flexible()) {
                (true, _) if field.tag.is_some() => out.push(0),
                (true, _) => out.push(0xff),
                (false, true) => out.push(0),
                (false, false) if field.ty == Type::String => out.extend([0xff; 2]),
                (false, false) => out.extend([0xff; 4]),
            }
            return;
        }
        if is_struct && may_be_null {
            out.push(1);
        }
        self.value(&field.ty, field.default.as_deref(), out);
    }

    fn value(&mut self, ty: &Type, default: Option<&str>, out: &mut Vec<u8>) {
        match ty {
            Type::Fixed(fixed) => {
                let number = match default {
                    Some("true") => 1,
                    None | Some("false") => 0,
                    Some(text) => match text.strip_prefix("0x") {
                        Some(hex) => i64::from_str_radix(hex, 16).unwrap(),
                        None => text.parse().unwrap(),
                    },
                };
                let mut bytes = i128::from(number).to_be_bytes()[16 - fixed.size..].to_vec();
                if let Some(random) = &mut self.random {
                    bytes.iter_mut().for_each(|byte| *byte = random.next() as u8);
                    match fixed.kafka {
                        "bool" => bytes[0] &= 1,
                        "float64" => bytes = (random.next() as f64).to_be_bytes().to_vec(),
                        _ => {}
                    }
                }
                out.extend(bytes);
            }
            Type::String => {
                let text = match &mut self.random {
                    Some(random) => random_text(random),
                    None => default.unwrap_or_default().to_owned(),
                };
                if self.flexible() {
                    uvarint(text.len() as u64 + 1, out);
                } else {
                    out.extend((text.len() as u16).to_be_bytes());
                }
                out.extend(text.as_bytes());
            }
            Type::Bytes | Type::Records => {
                let bytes = self.random.as_mut().map(random_bytes).unwrap_or_default();
                self.length(bytes.len(), out);
                out.extend(bytes);
            }
            Type::Struct(name) => self.structure(name, out),
            Type::Array(element) => {
                let count = self.random.as_mut().map_or(0, |random| random.below(4));
                self.length(count as usize, out);
                for _ in 0..count {
                    self.value(element, None, out);
                }
            }
        }
    }

    fn length(&self, length: usize, out: &mut Vec<u8>) {
        if self.flexible() {
            uvarint(length as u64 + 1, out);
        } else {
            out.extend((length as u32).to_be_bytes());
        }
    }
}

fn random_text(random: &mut Random) -> String {
    let length = if random.one_in(20) { 200 } else { random.below(8) };
    const LETTERS: [char; 8] = ['a', 'Z', '0', '.', '_', 'é', '漢', '🦀'];
    let pick = |random: &mut Random| LETTERS[random.below(8) as usize];
    (0..length).map(|_| pick(random)).collect()
}

/// Now and then more than the writer copies, so that parts are exercised.
fn random_bytes(random: &mut Random) -> Vec<u8> {
    let length = if random.one_in(4) { 3000 } else { random.below(40) };
    (0..length).map(|_| random.next() as u8).collect()
}

fn uvarint(mut value: u64, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}
