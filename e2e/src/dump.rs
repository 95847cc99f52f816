//! Apache Kafka's own dump-log tool as the judge of every file that a broker wrote.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};

use crate::clients::tool;

/// The files of partition directories below a log directory, by what the tool makes of them.
pub fn files(data: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(data)? {
        let dir = entry?.path();
        let name = dir.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let partition = name.rsplit_once('-').is_some_and(|(_, n)| n.parse::<u32>().is_ok());
        // Apache Kafka keeps its quorum's log here too; that one never rests.
        if !dir.is_dir() || !partition || name.starts_with("__cluster_metadata") {
            continue;
        }
        for entry in fs::read_dir(&dir)? {
            let file = entry?.path();
            let kind = file.extension().and_then(|e| e.to_str()).unwrap_or_default();
            if ["log", "index", "timeindex", "txnindex", "snapshot"].contains(&kind) {
                found.push(file);
            }
        }
    }
    found.sort();
    Ok(found)
}

/// Whether each segment but the newest of every partition has its indexes; they are written a
/// moment after the roll.
pub fn sealed_have_indexes(data: &Path) -> Result<bool> {
    let files = files(data)?;
    let sealed = files.windows(2).filter_map(|pair| {
        // A later log of the same directory means that this one is not written to any more.
        let is_log = pair[0].extension().is_some_and(|e| e == "log");
        let newer = files.iter().any(|other| {
            other.parent() == pair[0].parent()
                && other.extension().is_some_and(|e| e == "log")
                && *other > pair[0]
        });
        (is_log && newer).then_some(&pair[0])
    });
    let mut sealed = sealed.peekable();
    ensure!(sealed.peek().is_some(), "no sealed segment in {}", data.display());
    Ok(sealed.all(|log| {
        ["index", "timeindex"].iter().all(|kind| files.contains(&log.with_extension(kind)))
    }))
}

/// Runs the tool over every file; returns how many there were. The records of groups are decoded,
/// too, and there must be some.
pub fn check(data: &Path) -> Result<usize> {
    check_but(data, &[])
}

/// As `check`, where the log cleaner left gaps between offsets, which the tool names, and empty
/// batches, in which it looks for the record of an index entry.
pub fn check_cleaned(data: &Path) -> Result<usize> {
    check_but(data, &["is followed by", "timestamp mismatch"])
}

fn check_but(data: &Path, but: &[&str]) -> Result<usize> {
    let files = files(data)?;
    ensure!(!files.is_empty(), "no files in {}", data.display());
    let of_groups = |file: &&PathBuf| {
        let dir = file.parent().and_then(Path::file_name).and_then(|name| name.to_str());
        dir.is_some_and(|dir| dir.starts_with("__consumer_offsets-"))
    };
    let (groups, others): (Vec<&PathBuf>, Vec<&PathBuf>) = files.iter().partition(of_groups);
    judge(&others, "--deep-iteration", but)?;
    // It looks into batches as well, and prints what is in the records.
    let said = judge(&groups, "--offsets-decoder", but)?;
    let decoded = said.contains(r#""group":"#);
    ensure!(decoded, "no record of a group in {}\n{}", data.display(), last(&said));
    Ok(files.len())
}

/// Runs the tool in one of its modes over files, none of which it may find fault with; returns what
/// it said.
fn judge(files: &[&PathBuf], mode: &str, but: &[&str]) -> Result<String> {
    let mut all = String::new();
    for chunk in files.chunks(200) {
        let list: Vec<String> = chunk.iter().map(|file| file.display().to_string()).collect();
        let args = ["--files", &list.join(","), mode];
        let said = tool("org.apache.kafka.tools.DumpLogSegments", &args, "")?;
        ensure!(said.success, "dump-log failed\n{}\n{}", last(&said.out), said.err);
        let text = said.out.lines().chain(said.err.lines());
        let bad: Vec<&str> = text
            .filter(|line| complains(line) && !but.iter().any(|sign| line.contains(sign)))
            .take(20)
            .collect();
        ensure!(bad.is_empty(), "dump-log complains:\n{}", bad.join("\n"));
        for file in &list {
            ensure!(said.out.contains(file.as_str()), "dump-log passed over {file}");
        }
        all.push_str(&said.out);
    }
    Ok(all)
}

/// The tool says in words what it does not like. It also finds every segment that does not start
/// at 0 to follow offset -1, with a headline for the file: those two lines mean nothing.
fn complains(line: &str) -> bool {
    const SIGNS: [&str; 11] = [
        "isvalid: false",
        "isValid: false",
        "mismatch",
        "Mismatches",
        "Found ",
        "Exception",
        "is followed by",
        "truncated",
        "not valid",
        // Of a record that its decoder does not understand.
        "skipping",
        "Failed to decode",
    ];
    let first = line.trim_start().starts_with("-1 is followed by");
    !first && SIGNS.iter().any(|sign| line.contains(sign))
}

fn last(text: &str) -> &str {
    &text[text.floor_char_boundary(text.len().saturating_sub(2000))..]
}
