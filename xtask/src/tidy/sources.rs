//! Rules of source files: the paragraph at the head, the sizes, the words that are not left behind,
//! and where `unsafe` and clocks may stand.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::finding::{Finding, finding};
use super::scan::blank;
use crate::run;

const FILE_LINES_MAX: usize = 600;
const LINE_WIDTH_MAX: usize = 100;

/// The only files with `unsafe`, each block of which argues for itself.
const UNSAFE: &[&str] = &["broker/commitlog/src/fs/resident.rs", "broker/src/huge_pages.rs"];

/// The crates that do no input or output: no clock, task, file, socket or random number in their
/// sources.
pub const CORES: &[&str] = &[
    "broker/record",
    "broker/wire",
    "broker/replica",
    "broker/authorizer",
    "broker/metadata",
    "broker/coordinator",
    "broker/quota",
    "operator/crd",
    "operator/plan",
    "operator/build",
];

/// A program beside a core: it writes down what the core says.
const BESIDE_CORES: &[&str] = &["operator/crd/src/bin/crdgen.rs"];

/// What a core must not name, and what it has instead.
const BANNED_IN_CORES: &[(&str, &str)] = &[
    ("Instant::now", "time is an argument"),
    ("SystemTime::now", "time is an argument"),
    ("tokio::", "tasks belong to the driver"),
    ("std::thread", "threads belong to the driver"),
    ("std::fs", "files belong to the driver"),
    ("std::net", "sockets belong to the driver"),
    ("Mutex<", "a core contains no lock"),
    ("RwLock<", "a core contains no lock"),
    ("uuid::", "random ids are an argument"),
    ("rand::", "random numbers are an argument"),
    ("getrandom", "random numbers are an argument"),
];

/// Words that mean that work was left behind; written so that this file does not contain them.
const LEFT_BEHIND: &[&str] = &[
    concat!("FIX", "ME"),
    concat!("TO", "DO"),
    concat!("X", "XX"),
    concat!("to", "do!("),
    concat!("db", "g!("),
];

pub fn check(files: &[PathBuf]) -> Result<Vec<Finding>> {
    let mut found = Vec::new();
    for file in files {
        let extension = file.extension().and_then(|e| e.to_str()).unwrap_or_default();
        if !["rs", "go", "py", "java"].contains(&extension) {
            continue;
        }
        let path = run::root().join(file);
        let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        found.extend(any_language(file, &text));
        if extension == "rs" {
            found.extend(rust(file, &text));
        }
    }
    Ok(found)
}

fn any_language(file: &Path, text: &str) -> Vec<Finding> {
    let mut found = Vec::new();
    let count = text.lines().count();
    if count > FILE_LINES_MAX {
        found.push(finding(file.display(), format!("{count} lines, at most {FILE_LINES_MAX}")));
    }
    for (i, line) in text.lines().enumerate() {
        let place = format!("{}:{}", file.display(), i + 1);
        if line.chars().count() > LINE_WIDTH_MAX {
            found.push(finding(&place, format!("wider than {LINE_WIDTH_MAX} columns")));
        }
        if let Some(word) = LEFT_BEHIND.iter().find(|word| line.contains(**word)) {
            found.push(finding(&place, format!("{word} is not left behind")));
        }
    }
    found
}

fn rust(file: &Path, text: &str) -> Vec<Finding> {
    let mut found = Vec::new();
    if !text.starts_with("//!") {
        found
            .push(finding(file.display(), "opens with a `//!` paragraph: job, owner, order rules"));
    }
    let blanked = blank(text);
    let name = file.to_string_lossy();
    for (i, line) in blanked.lines().enumerate() {
        let place = || format!("{}:{}", file.display(), i + 1);
        let opens = ["unsafe {", "unsafe fn", "unsafe impl"].iter().any(|word| line.contains(word));
        if opens && !UNSAFE.contains(&name.as_ref()) {
            found.push(finding(place(), format!("unsafe only in {}", UNSAFE.join(", "))));
        }
        let core = CORES.iter().any(|core| file.starts_with(Path::new(core).join("src")));
        let core = core && !file.iter().any(|part| part == "tests" || part == "tests.rs");
        let core = core && !BESIDE_CORES.contains(&name.as_ref());
        let banned = BANNED_IN_CORES.iter().find(|(word, _)| names(line, word));
        if let (true, Some((word, reason))) = (core, banned) {
            found.push(finding(place(), format!("{word} in a core: {reason}")));
        }
    }
    found
}

/// Whether the word is there, and not only the end of a longer one.
fn names(line: &str, word: &str) -> bool {
    line.match_indices(word).any(|(at, _)| !line[..at].ends_with(char::is_alphanumeric))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn findings_name_file_line_and_rule() {
        let long = "x\n".repeat(601);
        let found = any_language(Path::new("a/b.rs"), &long);
        assert_eq!(found, [finding("a/b.rs", "601 lines, at most 600")]);
        let found = rust(Path::new("broker/replica/src/x.rs"), "fn f() { Instant::now(); }");
        assert_eq!(found.len(), 2, "{found:?}");
        let core = Path::new("broker/metadata/src/x.rs");
        assert_eq!(rust(core, "//! Head.\nfn f() { uuid::Uuid::new_v4(); }\n").len(), 1);
        assert!(rust(core, "//! Head.\nfn f() { Errand::new(); }\n").is_empty());
        let wide = format!("//{}\n", "x".repeat(99));
        let rule = "wider than 100 columns";
        assert_eq!(any_language(Path::new("a.rs"), &wide), [finding("a.rs:1", rule)]);
        let text = "//! Head.\nunsafe fn f() {}\n";
        assert_eq!(rust(core, text).len(), 1);
        assert!(rust(Path::new(UNSAFE[0]), text).is_empty());
        let left = format!("a\n// {} later\n", LEFT_BEHIND[0]);
        assert_eq!(any_language(Path::new("c.go"), &left).len(), 1);
        assert!(any_language(Path::new("c.go"), "fine\n").is_empty());
    }
}
