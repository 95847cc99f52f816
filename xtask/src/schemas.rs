//! Extracts the facts of Kafka's message schemas out of the Maven jars of a Kafka release and
//! writes them in the notation of `broker/wire/schema/` (`broker/wire/gen/notation.rs` describes
//! it): one file per API, or per stored record. Nothing but names, types, versions and defaults is
//! taken.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;
use std::{fs, ops::RangeInclusive};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

const MESSAGE_DIR: &str = "common/message/";
const JARS: [&str; 3] =
    ["kafka-clients-", "kafka-group-coordinator-", "kafka-transaction-coordinator-"];
/// KRaft's own and the share state APIs: no client sends them, and brokers of this project talk to
/// their quorum in another way.
const INTERNAL_KEYS: [i64; 17] =
    [52, 53, 54, 56, 58, 59, 62, 63, 67, 70, 73, 82, 83, 84, 85, 86, 87];
/// Messages without an api key, by the start of their name.
const STORED: [&str; 7] = [
    "OffsetCommit",
    "GroupMetadata",
    "ConsumerGroup",
    "TransactionLog",
    "ConsumerProtocol",
    "EndTxnMarker",
    "LegacyOffsetCommit",
];

/// Writes the notation of every schema found in the jars of `jars_dir`.
pub fn run(jars_dir: &Path) -> Result<()> {
    let out_dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../broker/wire/schema");
    fs::create_dir_all(&out_dir).context("create the schema directory")?;
    let schemas = read_jars(jars_dir)?;
    let unstable = schemas.iter().filter(|s| s["latestVersionUnstable"] == true);
    let unstable: Vec<i64> = unstable.filter_map(|s| s["apiKey"].as_i64()).collect();
    let mut files: BTreeMap<String, String> = BTreeMap::new();
    for schema in &schemas {
        let Some((file, text)) = message(schema, &unstable)? else { continue };
        files.entry(file).or_default().push_str(&text);
    }
    for entry in fs::read_dir(&out_dir).context("list the schema directory")? {
        // What the release no longer has must not stay behind.
        fs::remove_file(entry?.path()).context("remove an old schema")?;
    }
    for (name, text) in &files {
        let path = out_dir.join(format!("{name}.txt"));
        fs::write(&path, text).with_context(|| format!("write {}", path.display()))?;
    }
    println!("{} files written to {}", files.len(), out_dir.display());
    Ok(())
}

fn read_jars(jars_dir: &Path) -> Result<Vec<Value>> {
    let mut jars = Vec::new();
    for entry in fs::read_dir(jars_dir).context("read the jar directory")? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let versioned = |prefix: &&&str| {
            name.strip_prefix(**prefix)
                .is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
        };
        if name.ends_with(".jar") && JARS.iter().any(|prefix| versioned(&prefix)) {
            jars.push(path);
        }
    }
    jars.sort();
    ensure!(jars.len() == JARS.len(), "expected one jar each of {JARS:?}, found {jars:?}");
    let mut schemas = Vec::new();
    for jar in jars {
        let list = unzip(&["-Z1"], &jar, &format!("{MESSAGE_DIR}*.json"))?;
        let mut names: Vec<&str> = list.lines().collect();
        names.sort_unstable();
        for name in names {
            let text = strip_comments(&unzip(&["-p"], &jar, name)?);
            schemas.push(serde_json::from_str(&text).with_context(|| format!("parse {name}"))?);
        }
    }
    Ok(schemas)
}

fn unzip(options: &[&str], jar: &Path, member: &str) -> Result<String> {
    let output = Command::new("unzip").args(options).arg(jar).arg(member).output();
    let output = output.context("run unzip")?;
    ensure!(output.status.success(), "unzip of {member} in {} failed", jar.display());
    Ok(String::from_utf8(output.stdout)?)
}

/// Kafka's schemas are JSON with `//` comments.
fn strip_comments(text: &str) -> String {
    let mut stripped = String::with_capacity(text.len());
    for line in text.lines() {
        let mut in_string = false;
        let mut end = line.len();
        for (i, c) in line.char_indices() {
            match c {
                '"' => in_string = !in_string,
                '/' if !in_string && line[i..].starts_with("//") => {
                    end = i;
                    break;
                }
                _ => {}
            }
        }
        stripped.push_str(&line[..end]);
        stripped.push('\n');
    }
    stripped
}

/// The file's name and the notation of one message, if it is one that is wanted.
fn message(schema: &Value, unstable: &[i64]) -> Result<Option<(String, String)>> {
    let name = text(schema, "name")?;
    let kind = text(schema, "type")?;
    let key = schema["apiKey"].as_i64();
    let (file, head) = match (kind, key) {
        ("request" | "response", Some(key)) if !INTERNAL_KEYS.contains(&key) => {
            let api = name.trim_end_matches("Request").trim_end_matches("Response");
            (snake(api), format!("{kind} {key} {name}"))
        }
        ("coordinator-key" | "coordinator-value", Some(key)) if is_stored(name) => {
            (snake(name.trim_end_matches("Key").trim_end_matches("Value")), {
                format!("record {key} {name}")
            })
        }
        ("data", None) if is_stored(name) => (snake(name), format!("data - {name}")),
        _ => return Ok(None),
    };
    let Some(mut valid) = range(text(schema, "validVersions")?)? else { return Ok(None) };
    if key.is_some_and(|key| unstable.contains(&key)) && kind.starts_with("re") {
        valid = *valid.start()..=valid.end() - 1;
    }
    let flexible = range(text(schema, "flexibleVersions")?)?;
    let flexible = flexible.map_or("none".to_owned(), |range| format!("{}+", range.start()));
    let mut out = String::new();
    writeln!(out, "{head} {}-{} flexible {flexible}", valid.start(), valid.end())?;
    fields(&mut out, schema, &valid, 1)?;
    for common in schema["commonStructs"].as_array().into_iter().flatten() {
        writeln!(out, "  struct {}", text(common, "name")?)?;
        fields(&mut out, common, &valid, 2)?;
    }
    Ok(Some((file, out)))
}

fn is_stored(name: &str) -> bool {
    STORED.iter().any(|start| name.starts_with(start))
}

fn fields(
    out: &mut String,
    owner: &Value,
    valid: &RangeInclusive<i16>,
    depth: usize,
) -> Result<()> {
    for field in owner["fields"].as_array().into_iter().flatten() {
        let name = text(field, "name")?;
        // A tagged field may leave its versions to its tagged versions.
        let key = if field.get("versions").is_some() { "versions" } else { "taggedVersions" };
        ensure!(field.get(key).is_some(), "{name} has no versions");
        let Some(versions) = clipped(field, key, valid)? else { continue };
        write!(out, "{:1$}{name}: {2}", "", 2 * depth, text(field, "type")?)?;
        if versions != *valid {
            write!(out, " {}", show(&versions, valid))?;
        }
        if let Some(nullable) = clipped(field, "nullableVersions", valid)? {
            write!(out, " null {}", show(&nullable, valid))?;
        }
        if let Some(tag) = field["tag"].as_i64() {
            let tagged = clipped(field, "taggedVersions", valid)?;
            if tagged != Some(versions) {
                bail!("{name}: tagged in only a part of its versions, which no schema had so far");
            }
            write!(out, " tag {tag}")?;
        }
        if field["ignorable"] == true {
            write!(out, " ignorable")?;
        }
        match &field["default"] {
            // A bare null is no default to Kafka's generator, unlike the text "null".
            Value::Null => {}
            Value::String(default) if default.is_empty() => {}
            Value::String(default) => write!(out, " = {default}")?,
            default => write!(out, " = {default}")?,
        }
        writeln!(out)?;
        fields(out, field, valid, depth + 1)?;
    }
    Ok(())
}

fn text<'a>(value: &'a Value, key: &str) -> Result<&'a str> {
    value[key].as_str().with_context(|| format!("{key} is missing in {}", value["name"]))
}

/// A field's range cut to the versions that the message has; `None` if nothing is left.
fn clipped(
    field: &Value,
    key: &str,
    valid: &RangeInclusive<i16>,
) -> Result<Option<RangeInclusive<i16>>> {
    let Some(range) = field[key].as_str().map(range).transpose()?.flatten() else {
        return Ok(None);
    };
    let cut = *range.start().max(valid.start())..=*range.end().min(valid.end());
    Ok((!cut.is_empty()).then_some(cut))
}

fn show(range: &RangeInclusive<i16>, valid: &RangeInclusive<i16>) -> String {
    if range.end() == valid.end() {
        format!("{}+", range.start())
    } else {
        format!("{}-{}", range.start(), range.end())
    }
}

/// Kafka's notation of versions: `none`, `3`, `3+` or `3-5`.
fn range(text: &str) -> Result<Option<RangeInclusive<i16>>> {
    if text == "none" {
        return Ok(None);
    }
    if let Some(start) = text.strip_suffix('+') {
        return Ok(Some(start.parse()?..=i16::MAX));
    }
    let (start, end) = text.split_once('-').unwrap_or((text, text));
    Ok(Some(start.parse()?..=end.parse()?))
}

fn snake(name: &str) -> String {
    let mut out = String::new();
    for c in name.chars() {
        if c.is_ascii_uppercase() && !out.is_empty() {
            out.push('_');
        }
        out.push(c.to_ascii_lowercase());
    }
    out
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_schema_becomes_its_facts() {
        let json = strip_comments(
            r#"{ // "not": "this",
            "apiKey": 7, "type": "request", "name": "TestThingRequest",
            "validVersions": "2-4", "flexibleVersions": "3+", "fields": [
              { "name": "Url", "type": "string", "versions": "0+", "nullableVersions": "3+",
                "default": "a//b", "about": "Never copied." },
              { "name": "Old", "type": "int8", "versions": "0-1" },
              { "name": "Bare", "type": "[]int32", "taggedVersions": "4+", "tag": 0,
                "default": null },
              { "name": "Inner", "type": "[]Inner", "versions": "0-3", "ignorable": true,
                "fields": [{ "name": "Id", "type": "uuid", "versions": "0+" }] }] }"#,
        );
        let schema = serde_json::from_str(&json).unwrap();
        let facts = "request 7 TestThingRequest 2-4 flexible 3+\n  Url: string null 3+ = a//b\n  \
                     Bare: []int32 4+ tag 0\n  Inner: []Inner 2-3 ignorable\n    Id: uuid\n";
        let expected = Some(("test_thing".to_owned(), facts.to_owned()));
        assert_eq!(message(&schema, &[]).unwrap(), expected);
        // An unstable newest version is cut off, with what only it has.
        let stable = message(&schema, &[7]).unwrap().unwrap().1;
        assert!(stable.starts_with("request 7 TestThingRequest 2-3 flexible 3+"), "{stable}");
        assert!(!stable.contains("Bare"), "{stable}");
    }
}
