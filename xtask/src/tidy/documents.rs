//! Documents name what exists: every path in backticks in an ARCHITECTURE.md is a file or a
//! directory.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::finding::{Finding, finding};
use crate::run;

pub fn check(files: &[PathBuf]) -> Result<Vec<Finding>> {
    let mut found = Vec::new();
    let documents = files.iter().filter(|file| file.ends_with("ARCHITECTURE.md"));
    for file in documents {
        let path = run::root().join(file);
        let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        found.extend(missing(file, &text));
    }
    Ok(found)
}

/// Paths in a document that lead to nothing.
fn missing(file: &Path, text: &str) -> Vec<Finding> {
    let dir = file.parent().unwrap_or(Path::new(""));
    let mut found = Vec::new();
    for (i, line) in text.lines().enumerate() {
        for name in quoted(line).filter(|name| is_path(name) && !exists(dir, name)) {
            let place = format!("{}:{}", file.display(), i + 1);
            found.push(finding(place, format!("{name} does not exist")));
        }
    }
    found
}

/// What stands between backticks.
fn quoted(line: &str) -> impl Iterator<Item = &str> {
    line.split('`').skip(1).step_by(2)
}

/// A path: it ends as our files do, or ends with a slash. Patterns and places outside are not.
fn is_path(text: &str) -> bool {
    let plain = !text.contains(|c: char| c.is_whitespace() || "*{}<>$:()=,".contains(c));
    let file = [".rs", ".md", ".toml", ".go", ".java", ".py"].iter().any(|e| text.ends_with(e));
    plain && !text.starts_with('/') && (file || (text.ends_with('/') && text.len() > 1))
}

/// Relative to the document, to its sources, or to the root.
fn exists(dir: &Path, name: &str) -> bool {
    let root = run::root();
    let beside = root.join(dir);
    [beside.join(name), beside.join("src").join(name), root.join(name)]
        .iter()
        .any(|path| path.exists())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_told_from_other_words() {
        let line = "see `src/boot.rs`, `commitlog/`, `log.dirs`, `a/*.rs` and `Fetch`";
        let paths: Vec<&str> = quoted(line).filter(|text| is_path(text)).collect();
        assert_eq!(paths, ["src/boot.rs", "commitlog/"]);
    }

    #[test]
    fn a_path_that_leads_to_nothing_is_a_finding() {
        let text = "see `xtask/src/tidy/mod.rs`\nand `src/that_was_here.rs`";
        let place = "broker/ARCHITECTURE.md:2";
        let found = missing(Path::new("broker/ARCHITECTURE.md"), text);
        assert_eq!(found, [finding(place, "src/that_was_here.rs does not exist")]);
    }
}
