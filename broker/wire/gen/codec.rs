//! Emits `read` and `write` of one struct.

use std::fmt::Write as _;

use crate::emit::{default_of, field_type};
use crate::names;
use crate::notation::{Field, Kind, Message, Struct, Type, Versions};

/// One struct and the message it belongs to.
pub struct StructCodec<'a> {
    pub message: &'a Message,
    pub each: &'a Struct,
}

impl StructCodec<'_> {
    pub fn emit(&self) -> String {
        let name = &self.each.name;
        format!("    impl {name} {{\n{}{}    }}\n", self.read(), self.write())
    }

    /// The condition on `version` that holds exactly for `versions`; `None` if always.
    fn condition(&self, versions: Versions) -> Option<String> {
        let valid = self.message.versions;
        match (versions.first <= valid.first, versions.last >= valid.last) {
            (true, true) => None,
            (true, false) => Some(format!("version <= {}", versions.last)),
            (false, true) => Some(format!("version >= {}", versions.first)),
            (false, false) => {
                Some(format!("({}..={}).contains(&version)", versions.first, versions.last))
            }
        }
    }

    fn flexible(&self) -> String {
        match self.message.flexible_since {
            None => "false".to_owned(),
            Some(since) if since <= self.message.versions.first => "true".to_owned(),
            Some(since) => format!("version >= {since}"),
        }
    }

    /// Kafka's own message struct has tagged fields in every flexible version, known or not.
    fn tagged(&self) -> Vec<&Field> {
        let mut tagged: Vec<&Field> =
            self.each.fields.iter().filter(|field| field.tag.is_some()).collect();
        tagged.sort_by_key(|field| field.tag);
        tagged
    }

    fn qualified(&self, field: &Field) -> String {
        format!("\"{}.{}\"", self.each.name, names::snake(&field.name))
    }

    fn is_response_records(&self, field: &Field) -> bool {
        field.ty == Type::Records && self.message.kind == Kind::Response
    }

    fn read(&self) -> String {
        let mut out = String::from("        pub(crate) fn read(r: &mut Reader, version: i16)");
        out += " -> Result<Self, DecodeError> {\n";
        let _ = writeln!(out, "            let flexible = {};", self.flexible());
        out += "            let mut this = Self {\n";
        for field in &self.each.fields {
            let name = names::field(&field.name);
            let value = match (field.tag, self.condition(field.versions)) {
                (Some(_), _) => default_of(field),
                (None, None) => self.read_field(field),
                (None, Some(condition)) => format!(
                    "if {condition} {{ {} }} else {{ {} }}",
                    self.read_field(field),
                    default_of(field)
                ),
            };
            let _ = writeln!(out, "                {name}: {value},");
        }
        out += "            };\n            if flexible {\n";
        let tagged = self.tagged();
        if tagged.is_empty() {
            out += "                r.skip_tags()?;\n";
        } else {
            out += "                r.tags(|r, tag| {\n                    match tag {\n";
            for field in tagged {
                out += &self.read_tagged(field);
            }
            out += "                        _ => return Ok(false),\n                    }\n";
            out += "                    Ok(true)\n                })?;\n";
        }
        out += "            }\n            Ok(this)\n        }\n";
        out
    }

    fn read_tagged(&self, field: &Field) -> String {
        let tag = field.tag.unwrap_or_default();
        let name = names::field(&field.name);
        let read = self.read_field(field);
        let Some(condition) = self.condition(field.versions) else {
            return format!("                        {tag} => this.{name} = {read},\n");
        };
        let qualified = self.qualified(field);
        format!(
            "                        {tag} if {condition} => this.{name} = {read},\n\
             \x20                       {tag} => return Err(DecodeError::TagVersion {{ \
             field: {qualified}, tag, version }}),\n"
        )
    }

    /// An expression that reads the field in a version that has it.
    fn read_field(&self, field: &Field) -> String {
        if self.is_response_records(field) {
            return "r.nullable_bytes(flexible)?.map_or(Records::None, Records::Bytes)".to_owned();
        }
        let Some(nullable) = field.nullable else {
            let read = self.read_plain(field);
            return if field.ty == Type::Records { format!("Some({read})") } else { read };
        };
        let or_null = match &field.ty {
            Type::String => "r.nullable_string(flexible)?".to_owned(),
            Type::Bytes | Type::Records => "r.nullable_bytes(flexible)?".to_owned(),
            Type::Array(element) => format!(
                "r.nullable_vec(flexible, {}, |r| {})?",
                self.size_min(element, field.versions),
                read_element(element)
            ),
            Type::Struct(name) => {
                // Kafka marks a nullable struct by a signed byte, but in a tag by a varint.
                let present =
                    if field.tag.is_some() { "r.uvarint()? > 0" } else { "r.struct_is_present()?" };
                format!("if {present} {{ Some({name}::read(r, version)?) }} else {{ None }}")
            }
            Type::Fixed(_) => unreachable!("a number is never null"),
        };
        match self.condition(nullable) {
            None => or_null,
            // Nullable in all versions that have the field.
            Some(_) if nullable == field.versions => or_null,
            Some(condition) => {
                format!(
                    "if {condition} {{ {or_null} }} else {{ Some({}) }}",
                    self.read_plain(field)
                )
            }
        }
    }

    fn read_plain(&self, field: &Field) -> String {
        let qualified = self.qualified(field);
        match &field.ty {
            Type::Fixed(fixed) => format!("r.{}()?", fixed.method),
            Type::String => format!("r.string(flexible, {qualified})?"),
            Type::Bytes | Type::Records => format!("r.bytes(flexible, {qualified})?"),
            Type::Struct(name) => format!("{name}::read(r, version)?"),
            Type::Array(element) => format!(
                "r.vec(flexible, {}, {qualified}, |r| {})?",
                self.size_min(element, field.versions),
                read_element(element)
            ),
        }
    }

    /// The least bytes an array's element takes in any of `versions`.
    fn size_min(&self, ty: &Type, versions: Versions) -> usize {
        let valid = self.message.versions;
        (valid.first..=valid.last)
            .filter(|&version| versions.contains(version))
            .map(|version| self.size_at(ty, version))
            .min()
            .unwrap_or(1)
    }

    fn size_at(&self, ty: &Type, version: i16) -> usize {
        let flexible = self.message.flexible_since.is_some_and(|since| version >= since);
        match ty {
            Type::Fixed(fixed) => fixed.size,
            Type::String if !flexible => 2,
            Type::Bytes | Type::Records | Type::Array(_) if !flexible => 4,
            Type::String | Type::Bytes | Type::Records | Type::Array(_) => 1,
            Type::Struct(name) => {
                let inner = self.message.structs.iter().find(|each| each.name == *name);
                let inner = inner.unwrap_or_else(|| panic!("struct {name} is not defined"));
                let fields = inner.fields.iter().filter(|field| field.tag.is_none());
                let here = fields.filter(|field| field.versions.contains(version));
                let size = |field: &Field| match (&field.ty, field.nullable) {
                    (Type::Struct(_), Some(_)) => 1,
                    (ty, _) => self.size_at(ty, version),
                };
                here.map(size).sum::<usize>() + usize::from(flexible)
            }
        }
    }

    fn write(&self) -> String {
        let mut out =
            String::from("        pub(crate) fn write(&self, w: &mut Writer, version: i16)");
        out += " -> Result<(), EncodeError> {\n";
        let _ = writeln!(out, "            let flexible = {};", self.flexible());
        for field in self.each.fields.iter().filter(|field| field.tag.is_none()) {
            let write = self.write_field(field);
            let refusal = self.refuse(field);
            out += &match (self.condition(field.versions), refusal) {
                (None, _) => format!("            {write}\n"),
                (Some(condition), None) => {
                    format!("            if {condition} {{ {write} }}\n")
                }
                (Some(condition), Some(refusal)) => {
                    format!("            if {condition} {{ {write} }} else {{ {refusal} }}\n")
                }
            };
        }
        out += &self.write_tags();
        out += "            Ok(())\n        }\n";
        out
    }

    fn write_tags(&self) -> String {
        let tagged = self.tagged();
        let mut out = String::new();
        let mut count = String::new();
        let mut writes = String::new();
        for field in tagged {
            let set = match self.condition(field.versions) {
                None => is_set(field),
                Some(condition) => {
                    if let Some(refusal) = self.refuse(field) {
                        let _ = writeln!(out, "            if !({condition}) {{ {refusal} }}");
                    }
                    format!("{condition} && {}", is_set(field))
                }
            };
            let tag = field.tag.unwrap_or_default();
            let _ = writeln!(count, "                count += u32::from({set});");
            let _ = writeln!(
                writes,
                "                if {set} {{ let mark = w.begin_tag({tag});\n\
                 \x20                   {} w.end_tag(mark)?; }}",
                self.write_field(field)
            );
        }
        if count.is_empty() {
            out += "            if flexible { w.uvarint(0); }\n";
        } else {
            let _ = write!(
                out,
                "            if flexible {{\n                let mut count = 0;\n{count}\
                 \x20               w.uvarint(count);\n{writes}            }}\n"
            );
        }
        out
    }

    /// The statement that refuses a field that is set in a version without it; `None` where such
    /// a field is dropped.
    fn refuse(&self, field: &Field) -> Option<String> {
        let qualified = self.qualified(field);
        (!field.ignorable).then(|| {
            let error = format!("EncodeError::UnsupportedField {{ field: {qualified}, version }}");
            format!("if {} {{ return Err({error}); }}", is_set(field))
        })
    }

    /// A statement that writes the field in a version that has it.
    fn write_field(&self, field: &Field) -> String {
        let place = format!("self.{}", names::field(&field.name));
        if self.is_response_records(field) {
            return format!("w.records(flexible, &{place})?;");
        }
        if !field_type(self.message, field).starts_with("Option<") {
            return write_value(&field.ty, &place);
        }
        let some = write_value(&field.ty, "value");
        let is_struct = matches!(field.ty, Type::Struct(_));
        let null = match &field.ty {
            Type::String => "w.null_string(flexible);",
            Type::Struct(_) if field.tag.is_some() => "w.uvarint(0);",
            Type::Struct(_) => "w.i8(-1);",
            _ => "w.length(flexible, None)?;",
        };
        let refusal = format!(
            "return Err(EncodeError::UnexpectedNull {{ field: {}, version }});",
            self.qualified(field)
        );
        let condition = field.nullable.map(|nullable| {
            if nullable == field.versions { None } else { self.condition(nullable) }
        });
        let (marker, null) = match condition {
            // Not nullable: the notation of a records field says nothing of null.
            None => (String::new(), refusal),
            Some(None) => ("w.i8(1);".to_owned(), null.to_owned()),
            Some(Some(condition)) => (
                format!("if {condition} {{ w.i8(1); }}"),
                format!("if {condition} {{ {null} }} else {{ {refusal} }}"),
            ),
        };
        let marker = if is_struct { marker } else { String::new() };
        format!("match &{place} {{ Some(value) => {{ {marker} {some} }} None => {{ {null} }} }}")
    }
}

fn read_element(element: &Type) -> String {
    match element {
        Type::Fixed(fixed) => format!("r.{}()", fixed.method),
        Type::String => "r.string(flexible, \"element\")".to_owned(),
        Type::Bytes | Type::Records => "r.bytes(flexible, \"element\")".to_owned(),
        Type::Struct(name) => format!("{name}::read(r, version)"),
        Type::Array(_) => unreachable!("Kafka has no arrays of arrays"),
    }
}

/// `place` is `self.field` or the name of a reference.
fn write_value(ty: &Type, place: &str) -> String {
    let is_place = place.starts_with("self.");
    match ty {
        Type::Fixed(fixed) => {
            let star = if is_place { "" } else { "*" };
            format!("w.{}({star}{place});", fixed.method)
        }
        Type::String => {
            let and = if is_place { "&" } else { "" };
            format!("w.string(flexible, {and}{place})?;")
        }
        Type::Bytes | Type::Records => {
            let and = if is_place { "&" } else { "" };
            format!("w.bytes(flexible, {and}{place})?;")
        }
        Type::Struct(_) => format!("{place}.write(w, version)?;"),
        Type::Array(element) => {
            let and = if is_place { "&" } else { "" };
            format!(
                "w.length(flexible, Some({place}.len()))?; for element in {and}{place} {{ {} }}",
                write_value(element, "element")
            )
        }
    }
}

/// An expression: the field differs from its default.
fn is_set(field: &Field) -> String {
    let place = format!("self.{}", names::field(&field.name));
    let default = default_of(field);
    let nullable = field.nullable.is_some();
    match (&field.ty, default.as_str()) {
        (Type::Fixed(fixed), "Default::default()") => match fixed.rust {
            "bool" => place,
            "TopicId" => format!("!{place}.is_zero()"),
            "f64" => format!("{place} != 0.0"),
            _ => format!("{place} != 0"),
        },
        (Type::Fixed(fixed), _) if fixed.rust == "bool" => format!("!{place}"),
        (Type::Fixed(_), value) => format!("{place} != {value}"),
        (Type::Records, _) => format!("{place} != Default::default()"),
        (_, "Default::default()") if nullable => format!("{place}.is_some()"),
        (Type::Struct(name), _) if !nullable => format!("{place} != {name}::default()"),
        (_, "Default::default()") => format!("!{place}.is_empty()"),
        _ => format!("{place} != {default}"),
    }
}
