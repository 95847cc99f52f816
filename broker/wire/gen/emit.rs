//! Emits the Rust of all messages: a module per message with its structs, and the enums over all.

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
    out += &any("Any request, by its API.", "AnyRequest", Kind::Request, messages);
    out += &any("Any response, by its API.", "AnyResponse", Kind::Response, messages);
    out
}

/// The body of `api_key.rs`: a call of its macro.
pub fn api_keys(messages: &[Message]) -> String {
    let mut requests: Vec<&Message> =
        messages.iter().filter(|message| message.kind == Kind::Request).collect();
    requests.sort_by_key(|message| message.key);
    let mut out = String::from("api_keys! {\n");
    for request in requests {
        let (name, key) = (api_name(request), request.key.unwrap_or_default());
        let Versions { first, last } = request.versions;
        let flexible = request.flexible_since;
        out += &format!("    {name} = {key}, {first}..={last}, {flexible:?};\n");
    }
    out + "}\n"
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

/// What the message's own struct has beyond the other structs.
fn message_impl(message: &Message) -> String {
    let name = &message.name;
    let Versions { first, last } = message.versions;
    let has_throttle = |each: &Struct| {
        each.name == *name && each.fields.iter().any(|field| field.name == "ThrottleTimeMs")
    };
    let throttle = match message.structs.iter().any(has_throttle) {
        true => ", throttle_time_ms",
        false => "",
    };
    let mut out = format!("    message!({name}, {first}..={last}{throttle});\n");
    match (message.kind, message.key) {
        (Kind::Record, Some(key)) => {
            out += &format!("    number!({name}, RECORD_TYPE = {key});\n");
        }
        (_, Some(key)) => out += &format!("    number!({name}, API_KEY = {key});\n"),
        (_, None) => {}
    }
    if message.kind == Kind::Request {
        let api = api_name(message);
        out += &format!("    request!({name}, {api}, super::{api}Response);\n");
    }
    out
}

/// The enum over all messages of a kind.
fn any(what: &str, name: &str, kind: Kind, messages: &[Message]) -> String {
    let mut out = format!("any! {{\n    /// {what}\n    {name} {{\n");
    for message in messages.iter().filter(|message| message.kind == kind) {
        out += &format!("        {}({})\n", api_name(message), message.name);
    }
    out + "    }\n}\n"
}
