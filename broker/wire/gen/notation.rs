//! The notation of `schema/*.txt`, and its parser. `cargo x schemas` writes it from Kafka's jars.
//!
//! ```text
//! request 1 FetchRequest 4-18 flexible 12+      kind, api key, name, versions, flexible versions
//!   ClusterId: string 12+ null 12+ tag 0 ignorable = null
//!   Topics: []FetchTopic                        no versions: in every version of the message
//!     Topic: string 4-12 ignorable
//!   struct Shared                               a struct used by several fields of the message
//!     Name: string
//! ```
//!
//! Kinds: `request`, `response`, `record` (key or value in an internal topic; the number is the
//! type of record) and `data` (no number: `-`). After a field's type come the versions that have
//! it, the versions where it may be null, its tag, `ignorable` (dropped silently where a version
//! lacks it) and its default. Ranges are `a-b` or `a+`, cut to the versions of the message.

/// An inclusive range of versions.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Versions {
    pub first: i16,
    pub last: i16,
}

impl Versions {
    pub fn contains(self, version: i16) -> bool {
        (self.first..=self.last).contains(&version)
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    Request,
    Response,
    Record,
    Data,
}

#[derive(Debug)]
pub struct Message {
    pub kind: Kind,
    pub key: Option<i16>,
    pub name: String,
    pub versions: Versions,
    pub flexible_since: Option<i16>,
    /// The first is the message itself.
    pub structs: Vec<Struct>,
}

#[derive(Debug)]
pub struct Struct {
    pub name: String,
    pub fields: Vec<Field>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Type {
    /// Of a fixed size: bool, numbers, uuid.
    Fixed(&'static Fixed),
    String,
    Bytes,
    Records,
    Struct(String),
    Array(Box<Type>),
}

/// A type of fixed size: Kafka's name, Rust's name, the codec method, bytes on the wire.
#[derive(PartialEq, Eq, Debug)]
pub struct Fixed {
    pub kafka: &'static str,
    pub rust: &'static str,
    pub method: &'static str,
    pub size: usize,
}

const fn fixed(
    kafka: &'static str,
    rust: &'static str,
    method: &'static str,
    size: usize,
) -> Fixed {
    Fixed { kafka, rust, method, size }
}

static FIXED: [Fixed; 9] = [
    fixed("bool", "bool", "bool", 1),
    fixed("int8", "i8", "i8", 1),
    fixed("int16", "i16", "i16", 2),
    fixed("uint16", "u16", "u16", 2),
    fixed("int32", "i32", "i32", 4),
    fixed("uint32", "u32", "u32", 4),
    fixed("int64", "i64", "i64", 8),
    fixed("float64", "f64", "f64", 8),
    fixed("uuid", "TopicId", "uuid", 16),
];

#[derive(Clone, Debug)]
pub struct Field {
    pub name: String,
    pub ty: Type,
    pub versions: Versions,
    pub nullable: Option<Versions>,
    pub tag: Option<u32>,
    pub ignorable: bool,
    pub default: Option<String>,
}

type Result<T> = std::result::Result<T, String>;

struct Line<'a> {
    depth: usize,
    text: &'a str,
}

/// The messages of one file.
pub fn parse(text: &str) -> Result<Vec<Message>> {
    let lines: Vec<Line<'_>> = text
        .lines()
        .filter(|line| !line.trim().is_empty())
        .map(|line| Line { depth: (line.len() - line.trim_start().len()) / 2, text: line.trim() })
        .collect();
    let mut messages = Vec::new();
    let mut rest = &lines[..];
    while let Some((head, body)) = rest.split_first() {
        let end = body.iter().position(|line| line.depth == 0).unwrap_or(body.len());
        messages.push(message(head, &body[..end])?);
        rest = &body[end..];
    }
    Ok(messages)
}

fn message(head: &Line<'_>, body: &[Line<'_>]) -> Result<Message> {
    let words: Vec<&str> = head.text.split_whitespace().collect();
    let [kind, key, name, versions, "flexible", flexible] = words[..] else {
        return Err(format!("not a message head: {}", head.text));
    };
    let kind = match kind {
        "request" => Kind::Request,
        "response" => Kind::Response,
        "record" => Kind::Record,
        "data" => Kind::Data,
        _ => return Err(format!("not a kind of message: {kind}")),
    };
    let key = if key == "-" { None } else { Some(number(key)?) };
    let versions = range(versions, i16::MAX)?;
    let flexible_since = match flexible {
        "none" => None,
        _ => Some(range(flexible, versions.last)?.first),
    };
    let mut structs = Vec::new();
    fields_of(name, body, 1, versions, &mut structs)?;
    Ok(Message { kind, key, name: name.to_owned(), versions, flexible_since, structs })
}

/// Collects the struct `name`, whose fields are the lines of `depth`, and the structs below it.
fn fields_of(
    name: &str,
    body: &[Line<'_>],
    depth: usize,
    valid: Versions,
    structs: &mut Vec<Struct>,
) -> Result<()> {
    let index = structs.len();
    structs.push(Struct { name: name.to_owned(), fields: Vec::new() });
    let mut rest = body;
    while let Some((line, below)) = rest.split_first() {
        let end = below.iter().position(|l| l.depth <= depth).unwrap_or(below.len());
        let (below, after) = below.split_at(end);
        rest = after;
        if let Some(shared) = line.text.strip_prefix("struct ") {
            fields_of(shared, below, depth + 1, valid, structs)?;
            continue;
        }
        let field = field(line.text, valid)?;
        if !below.is_empty() {
            let inner = struct_name(&field.ty)
                .ok_or_else(|| format!("{} has fields but is no struct", field.name))?;
            fields_of(inner, below, depth + 1, valid, structs)?;
        }
        structs[index].fields.push(field);
    }
    Ok(())
}

fn struct_name(ty: &Type) -> Option<&str> {
    match ty {
        Type::Struct(name) => Some(name),
        Type::Array(element) => struct_name(element),
        _ => None,
    }
}

fn field(text: &str, valid: Versions) -> Result<Field> {
    let (name, rest) = text.split_once(": ").ok_or_else(|| format!("not a field: {text}"))?;
    let (rest, default) = match rest.split_once(" = ") {
        Some((rest, default)) => (rest, Some(default.trim().to_owned())),
        None => (rest, None),
    };
    let mut words = rest.split_whitespace().peekable();
    let ty = parse_type(words.next().ok_or_else(|| format!("no type: {text}"))?)?;
    let mut field = Field {
        name: name.to_owned(),
        ty,
        versions: valid,
        nullable: None,
        tag: None,
        ignorable: false,
        default,
    };
    while let Some(word) = words.next() {
        let mut value = || words.next().ok_or_else(|| format!("{word} of what: {text}"));
        match word {
            "null" => field.nullable = Some(range(value()?, valid.last)?),
            "tag" => field.tag = Some(number(value()?)?),
            "ignorable" => field.ignorable = true,
            versions => field.versions = range(versions, valid.last)?,
        }
    }
    Ok(field)
}

fn parse_type(text: &str) -> Result<Type> {
    if let Some(element) = text.strip_prefix("[]") {
        return Ok(Type::Array(Box::new(parse_type(element)?)));
    }
    Ok(match text {
        "string" => Type::String,
        "bytes" => Type::Bytes,
        "records" => Type::Records,
        _ => match FIXED.iter().find(|fixed| fixed.kafka == text) {
            Some(fixed) => Type::Fixed(fixed),
            None if text.starts_with(|c: char| c.is_ascii_uppercase()) => {
                Type::Struct(text.to_owned())
            }
            None => return Err(format!("not a type: {text}")),
        },
    })
}

fn range(text: &str, last: i16) -> Result<Versions> {
    if let Some(first) = text.strip_suffix('+') {
        return Ok(Versions { first: number(first)?, last });
    }
    let (first, last) = text.split_once('-').ok_or_else(|| format!("not a range: {text}"))?;
    Ok(Versions { first: number(first)?, last: number(last)? })
}

fn number<T: std::str::FromStr>(text: &str) -> Result<T> {
    text.parse().map_err(|_| format!("not a number in its range: {text}"))
}
