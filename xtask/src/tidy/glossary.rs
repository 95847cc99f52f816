//! The glossary of an ARCHITECTURE.md: one noun, one meaning. Each noun has a name that the code
//! uses, and words that nobody uses in its place, neither in comments nor in pages.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::finding::{Finding, finding};
use super::scan::blank;
use crate::run;

const PAGE: &str = "broker/ARCHITECTURE.md";
/// What the glossary speaks of.
const DIRECTORY: &str = "broker";
const HEADING: &str = "## Glossary";

/// One row of the table.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Term {
    noun: String,
    /// Part of an identifier.
    in_code: String,
    /// Second words for the same meaning.
    banned: Vec<String>,
}

pub fn check(files: &[PathBuf]) -> Result<Vec<Finding>> {
    let read = |file: &Path| {
        let path = run::root().join(file);
        fs::read_to_string(&path).with_context(|| path.display().to_string())
    };
    let terms = terms(&read(Path::new(PAGE))?);
    let mut found = Vec::new();
    let mut code = String::new();
    for file in files.iter().filter(|file| file.starts_with(DIRECTORY)) {
        match file.extension().and_then(|extension| extension.to_str()) {
            Some("rs") => {
                let text = read(file)?;
                let blanked = blank(&text);
                found.extend(second_words(file, comments(&text, &blanked), &terms));
                code.push_str(&blanked);
            }
            Some("md") => {
                let text = read(file)?;
                found.extend(second_words(file, prose(&text), &terms));
            }
            _ => {}
        }
    }
    found.extend(unused(&terms, &code));
    Ok(found)
}

/// The rows of the table below the heading.
fn terms(page: &str) -> Vec<Term> {
    let lines = page.lines().skip_while(|line| *line != HEADING).skip(1);
    let section = lines.take_while(|line| !line.starts_with("## "));
    let rows = section.filter(|line| line.starts_with("| ")).skip(1);
    let term = |row: &str| {
        let mut cells = row.trim_matches('|').split('|').map(str::trim);
        let noun = cells.next()?.trim_end_matches('*').to_owned();
        let in_code = cells.next()?.trim_matches('`').to_owned();
        let banned = cells.nth(1)?.split(',').map(|word| word.trim().to_owned());
        let banned = banned.filter(|word| !word.is_empty()).collect();
        Some(Term { noun, in_code, banned })
    };
    rows.filter_map(term).collect()
}

/// Nouns whose name no identifier has; nouns that are listed twice.
fn unused(terms: &[Term], code: &str) -> Vec<Finding> {
    let mut found = Vec::new();
    if terms.is_empty() {
        found.push(finding(PAGE, "has no glossary"));
    }
    for (at, term) in terms.iter().enumerate() {
        let Term { noun, in_code, .. } = term;
        if in_code.is_empty() || !code.contains(in_code.as_str()) {
            found.push(finding(PAGE, format!("the code has no {in_code} ({noun})")));
        }
        if terms[..at].iter().any(|other| other.noun == *noun) {
            found.push(finding(PAGE, format!("{noun} has two meanings")));
        }
    }
    found
}

/// The comments of a source, by line: what the blanked text lacks from the first `//` on.
fn comments<'a>(text: &'a str, blanked: &'a str) -> impl Iterator<Item = (usize, &'a str)> {
    text.lines().zip(blanked.lines()).enumerate().filter_map(|(i, (line, blanked))| {
        let is_comment = |at: &usize| blanked.get(*at..).is_some_and(|b| b.trim().is_empty());
        let at = line.match_indices("//").map(|(at, _)| at).find(is_comment)?;
        Some((i, &line[at..]))
    })
}

/// The lines of a page, without the glossary, which names the words that it bans.
fn prose(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut is_glossary = false;
    text.lines().enumerate().filter(move |(_, line)| {
        if line.starts_with("## ") {
            is_glossary = *line == HEADING;
        }
        !is_glossary
    })
}

fn second_words<'a>(
    file: &Path,
    lines: impl Iterator<Item = (usize, &'a str)>,
    terms: &[Term],
) -> Vec<Finding> {
    let mut found = Vec::new();
    for (i, line) in lines {
        // What stands between backticks is somebody's name.
        let said: String = line.split('`').step_by(2).collect::<Vec<_>>().join("`");
        for term in terms {
            for word in term.banned.iter().filter(|word| says(&said, word)) {
                let place = format!("{}:{}", file.display(), i + 1);
                found.push(finding(place, format!("says {word} for {}", term.noun)));
            }
        }
    }
    found
}

/// Whether the words are there, as such or as a plural. Capitals matter only in abbreviations.
fn says(text: &str, words: &str) -> bool {
    let is_abbreviation = words.chars().all(char::is_uppercase);
    let text = if is_abbreviation { text.to_owned() } else { text.to_lowercase() };
    let words = if is_abbreviation { words.to_owned() } else { words.to_lowercase() };
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    text.match_indices(&words).any(|(at, _)| {
        let after = &text[at + words.len()..];
        let after = after.strip_prefix('s').unwrap_or(after);
        !text[..at].ends_with(is_word) && !after.starts_with(is_word)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "# Page\n## Glossary\nText.\n\n| noun | in code | meaning | not |\n\
                         |---|---|---|---|\n| observer* | `observer` | no vote | learner |\n\
                         | log end | `log_end` | next offset | LEO, tail offset |\n\
                         | image | `Image` | metadata | |\n\n## Next\n| a | b | c | d |\n";

    #[test]
    fn rows_are_read() {
        let terms = terms(TABLE);
        let nouns: Vec<_> = terms.iter().map(|term| term.noun.as_str()).collect();
        assert_eq!(nouns, ["observer", "log end", "image"]);
        assert_eq!(terms[1].in_code, "log_end");
        assert_eq!(terms[1].banned, ["LEO", "tail offset"]);
        assert!(terms[2].banned.is_empty());
    }

    #[test]
    fn a_name_that_the_code_has_not_is_a_finding() {
        let terms = terms(TABLE);
        let found = unused(&terms, "struct Image { observers: u8 }");
        assert_eq!(found, [finding(PAGE, "the code has no log_end (log end)")]);
        let twice = [terms[0].clone(), terms[0].clone()];
        assert_eq!(unused(&twice, "observer"), [finding(PAGE, "observer has two meanings")]);
        assert_eq!(unused(&[], ""), [finding(PAGE, "has no glossary")]);
    }

    #[test]
    fn a_second_word_is_a_finding() {
        let text = "/// Two learners.\nlet learner = \"a // learner\"; // the LEO\n\
                    // `add_learner`, a leo\nlet url = \"http://learner\";\n";
        let blanked = blank(text);
        let found = second_words(Path::new("a.rs"), comments(text, &blanked), &terms(TABLE));
        let expected = [
            finding("a.rs:1", "says learner for observer"),
            finding("a.rs:2", "says LEO for log end"),
        ];
        assert_eq!(found, expected);
        let page = format!("A Learner.\n{TABLE}| tail offset |\n");
        let found = second_words(Path::new("a.md"), prose(&page), &terms(TABLE));
        let last = page.lines().count();
        let expected = [
            finding("a.md:1", "says learner for observer"),
            finding(format!("a.md:{last}"), "says tail offset for log end"),
        ];
        assert_eq!(found, expected);
    }
}
