//! Emits the Rust of all messages: a module per message with its structs, and the enums over all.

use std::fmt::Write as _;

use crate::codec::StructCodec;
use crate::names;
use crate::notation::{Field, Kind, Message, Struct, Type, Versions};

/// The body of `messages.rs`.
pub fn messages(messages: &[Message]) -> String {
    let mut out = String::new();
    for message in messages {
        let module = names::snake(&message.name);
        out += &format!("pub mod {module} {{\n    //! Kafka's `{}`.\n\n", message.name);
        out += "    use super::generated::*;\n";
        for each in &message.structs {
            out += &one_struct(message, each);
        }
        out += &message_impl(message);
        out += "}\n";
        out += &format!("pub use {module}::{};\n", message.name);
    }
    out += &enums(messages);
    out
}

/// The body of `api_key.rs`.
pub fn api_keys(messages: &[Message]) -> String {
    let mut requests: Vec<&Message> =
        messages.iter().filter(|message| message.kind == Kind::Request).collect();
    requests.sort_by_key(|message| message.key);
    let mut variants = String::new();
    let mut indexes = String::new();
    let mut facts = String::new();
    for (index, request) in requests.iter().enumerate() {
        let name = api_name(request);
        let key = request.key.unwrap_or_default();
        let Versions { first, last } = request.versions;
        variants += &format!("    {name} = {key},\n");
        indexes += &format!("            ApiKey::{name} => {index},\n");
        facts += &format!(
            "    ApiFacts {{ key: ApiKey::{name}, name: \"{name}\", versions: {first}..={last}, \
             flexible_since: {:?} }},\n",
            request.flexible_since
        );
    }
    format!(
        "/// An API of the protocol, as its number on the wire.\n\
         #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]\n\
         #[repr(i16)]\n\
         pub enum ApiKey {{\n{variants}}}\n\n\
         impl ApiKey {{\n    fn index(self) -> usize {{\n        match self {{\n{indexes}        }}\n    }}\n}}\n\n\
         /// Sorted by number.\n\
         static FACTS: [ApiFacts; {}] = [\n{facts}];\n",
        requests.len()
    )
}

fn api_name(message: &Message) -> &str {
    let name = message.name.as_str();
    name.strip_suffix("Request").or(name.strip_suffix("Response")).unwrap_or(name)
}

fn one_struct(message: &Message, each: &Struct) -> String {
    let mut out = String::new();
    let derivable = each.fields.iter().all(|field| rust_default(field).is_none());
    let default = if derivable { ", Default" } else { "" };
    out += &format!("    #[derive(Clone, Debug, PartialEq{default})]\n");
    out += &format!("    pub struct {} {{\n", each.name);
    for field in &each.fields {
        let name = names::field(&field.name);
        out += &format!("        pub {name}: {},\n", field_type(message, field));
    }
    out += "    }\n";
    if !derivable {
        out += &format!("    impl Default for {} {{\n", each.name);
        out += "        fn default() -> Self {\n            Self {\n";
        for field in &each.fields {
            let name = names::field(&field.name);
            out += &format!("                {name}: {},\n", default_of(field));
        }
        out += "            }\n        }\n    }\n";
    }
    out += &StructCodec { message, each }.emit();
    out
}

/// The Rust type of a field. Records are a slice of the frame in requests, and in responses
/// whatever the sender can send.
pub fn field_type(message: &Message, field: &Field) -> String {
    if field.ty == Type::Records && message.kind == Kind::Response {
        return "Records".to_owned();
    }
    let inner = plain_type(&field.ty);
    if field.nullable.is_some() || field.ty == Type::Records {
        format!("Option<{inner}>")
    } else {
        inner
    }
}

fn plain_type(ty: &Type) -> String {
    match ty {
        Type::Fixed(fixed) => fixed.rust.to_owned(),
        Type::String => "Str".to_owned(),
        Type::Bytes | Type::Records => "Bytes".to_owned(),
        Type::Struct(name) => name.clone(),
        Type::Array(element) => format!("Vec<{}>", plain_type(element)),
    }
}

/// The default as an expression, if it is not the type's own `Default`.
fn rust_default(field: &Field) -> Option<String> {
    let text = field.default.as_deref();
    match (&field.ty, text) {
        (Type::Records, _) | (_, Some("null")) => None,
        (Type::Fixed(fixed), Some(text)) => match (fixed.kafka, text) {
            ("bool", "false") => None,
            ("bool", _) => Some(text.to_owned()),
            ("uuid", _) => None,
            _ => {
                let value = match text.strip_prefix("0x") {
                    Some(hex) => {
                        i64::from_str_radix(hex, 16).map_or(text.to_owned(), |n| n.to_string())
                    }
                    None => text.to_owned(),
                };
                (value != "0").then_some(value)
            }
        },
        (Type::String, Some(text)) => Some(format!("Str::from(\"{text}\")")),
        // Kafka's default of a nullable field is empty, not null, unless the schema says null.
        (_, None) if field.nullable.is_some() => Some("Some(Default::default())".to_owned()),
        _ => None,
    }
}

pub fn default_of(field: &Field) -> String {
    rust_default(field).unwrap_or_else(|| "Default::default()".to_owned())
}

/// `Message` and the inherent functions of the message's own struct.
fn message_impl(message: &Message) -> String {
    let name = &message.name;
    let Versions { first, last } = message.versions;
    let number = match (message.kind, message.key) {
        (Kind::Record, Some(key)) => format!(
            "        /// The type of record, as the key starts with it.\n        \
             pub const RECORD_TYPE: i16 = {key};\n"
        ),
        (_, Some(key)) => format!("        pub const API_KEY: i16 = {key};\n"),
        (_, None) => String::new(),
    };
    let mut out = format!(
        "    impl {name} {{\n{number}        pub const VERSIONS: RangeInclusive<i16> = {first}..={last};\n\
         \n        pub fn decode(r: &mut Reader, version: i16) -> Result<Self, DecodeError> {{\n\
         \x20           if !Self::VERSIONS.contains(&version) {{\n\
         \x20               return Err(DecodeError::UnsupportedVersion {{ message: \"{name}\", version }});\n\
         \x20           }}\n            Self::read(r, version)\n        }}\n\
         \n        pub fn encode(&self, w: &mut Writer, version: i16) -> Result<(), EncodeError> {{\n\
         \x20           if !Self::VERSIONS.contains(&version) {{\n\
         \x20               return Err(EncodeError::UnsupportedVersion {{ message: \"{name}\", version }});\n\
         \x20           }}\n            self.write(w, version)\n        }}\n    }}\n"
    );
    out += &format!(
        "    impl crate::Message for {name} {{\n\
         \x20       const NAME: &'static str = \"{name}\";\n\
         \x20       fn decode(r: &mut Reader, version: i16) -> Result<Self, DecodeError> {{\n\
         \x20           {name}::decode(r, version)\n        }}\n\
         \x20       fn encode(&self, w: &mut Writer, version: i16) -> Result<(), EncodeError> {{\n\
         \x20           {name}::encode(self, w, version)\n        }}\n    }}\n"
    );
    if message.kind == Kind::Request {
        let api = api_name(message);
        out += &format!(
            "    impl crate::Request for {name} {{\n\
             \x20       type Response = super::{api}Response;\n\
             \x20       const KEY: ApiKey = ApiKey::{api};\n    }}\n"
        );
    }
    out
}

/// `AnyRequest` and `AnyResponse`.
fn enums(messages: &[Message]) -> String {
    let mut out = String::new();
    for (kind, name, what) in
        [(Kind::Request, "AnyRequest", "request"), (Kind::Response, "AnyResponse", "response")]
    {
        let of_kind = || messages.iter().filter(|message| message.kind == kind);
        let arms = |arm: &dyn Fn(&str, &str) -> String| {
            of_kind().fold(String::new(), |mut arms, message| {
                let _ = writeln!(arms, "            {}", arm(api_name(message), &message.name));
                arms
            })
        };
        let variants = arms(&|api, message| format!("{api}({message}),"));
        let keys = arms(&|api, _| format!("{name}::{api}(_) => ApiKey::{api},"));
        let decodes = arms(&|api, message| {
            format!("ApiKey::{api} => {message}::decode(r, version)?.into(),")
        });
        let encodes = arms(&|api, _| format!("{name}::{api}(body) => body.encode(w, version),"));
        let _ = write!(
            out,
            "/// Any {what}, by its API.\n\
             #[derive(Clone, Debug, PartialEq)]\n\
             pub enum {name} {{\n{variants}}}\n\
             impl {name} {{\n\
             \x20   pub fn api_key(&self) -> ApiKey {{\n        match self {{\n{keys}        }}\n    }}\n\
             \x20   pub fn decode(key: ApiKey, version: i16, r: &mut Reader) -> Result<Self, DecodeError> {{\n\
             \x20       Ok(match key {{\n{decodes}        }})\n    }}\n\
             \x20   pub fn encode(&self, w: &mut Writer, version: i16) -> Result<(), EncodeError> {{\n\
             \x20       match self {{\n{encodes}        }}\n    }}\n}}\n"
        );
        for message in of_kind() {
            let (api, body) = (api_name(message), &message.name);
            let _ = writeln!(
                out,
                "impl From<{body}> for {name} {{\n    fn from(body: {body}) -> {name} {{\n        \
                 {name}::{api}(body)\n    }}\n}}"
            );
        }
    }
    out
}
