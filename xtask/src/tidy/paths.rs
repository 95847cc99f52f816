//! The paths that a source file names, as far as words tell: imports, re-exports, and paths that
//! begin with `crate`, `super` or `self` within code.

use std::collections::{BTreeMap, BTreeSet};

use super::scan::{blank, without_tests};

/// Segments of a path.
pub type Path = Vec<String>;

#[derive(Default, PartialEq, Eq, Debug)]
pub struct Imports {
    /// What is named, tests apart.
    pub paths: BTreeSet<Path>,
    /// What is handed on under a name of this module.
    pub exported: BTreeMap<String, Path>,
}

pub fn imports(text: &str) -> Imports {
    let blanked = blank(text);
    let code = without_tests(&blanked);
    let mut imports = Imports::default();
    let mut rest = code;
    while let Some(at) = rest.find("use ") {
        let before = &rest[..at];
        let is_word = before.ends_with(|c: char| c.is_alphanumeric() || c == '_');
        rest = &rest[at + 4..];
        let Some(end) = rest.find(';').filter(|_| !is_word) else { continue };
        let tree: String = rest[..end].split_whitespace().collect::<Vec<_>>().join(" ");
        let before = before.trim_end();
        let is_export = before.ends_with("pub") || before.ends_with(')');
        let leaves = leaves(&tree);
        if is_export {
            for (name, path) in &leaves {
                imports.exported.insert(name.clone(), path.clone());
            }
        } else {
            imports.paths.extend(leaves.into_iter().map(|(_, path)| path));
        }
    }
    imports.paths.extend(in_code(code));
    imports
}

/// The names and paths of a tree such as `a::{b, c::D as E}`.
fn leaves(tree: &str) -> Vec<(String, Path)> {
    let tree = tree.trim();
    if let Some(open) = tree.find('{') {
        let prefix: Path = segments(&tree[..open]);
        let inner = tree[open + 1..].strip_suffix('}').unwrap_or(&tree[open + 1..]);
        let parts = split(inner).into_iter().flat_map(leaves);
        let under = |(name, path): (String, Path)| {
            let own = path.first().is_some_and(|first| first == "self");
            let tail = if own { &path[1..] } else { &path[..] };
            (name, prefix.iter().cloned().chain(tail.iter().cloned()).collect())
        };
        return parts.map(under).collect();
    }
    let (path, name) = tree.split_once(" as ").unwrap_or((tree, tree));
    let path = segments(path);
    let name = segments(name).pop();
    name.map(|name| vec![(name, path)]).unwrap_or_default()
}

/// Parts between the commas of one level.
fn split(text: &str) -> Vec<&str> {
    let (mut parts, mut depth, mut start) = (Vec::new(), 0, 0);
    for (i, c) in text.char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                parts.push(&text[start..i]);
                start = i + 1;
            }
            _ => {}
        }
    }
    parts.push(&text[start..]);
    parts.into_iter().filter(|part| !part.trim().is_empty()).collect()
}

fn segments(path: &str) -> Path {
    let parts = path.split("::").map(str::trim).filter(|part| !part.is_empty());
    parts.map(str::to_owned).collect()
}

/// Paths outside of imports.
fn in_code(code: &str) -> Vec<Path> {
    let mut found = Vec::new();
    for root in ["crate::", "super::", "self::"] {
        for (at, _) in code.match_indices(root) {
            let before = code[..at].chars().next_back();
            if before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == ':') {
                continue;
            }
            let is_path = |c: char| c.is_alphanumeric() || c == '_' || c == ':';
            let end = code[at..].find(|c| !is_path(c)).unwrap_or(code.len() - at);
            // An import of several: its leaves are known.
            if !code[at + end..].starts_with('{') {
                found.push(segments(&code[at..at + end]));
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trees_become_paths() {
        let imports = imports(
            "use crate::{a::{self, B}, c as d};\npub use e::F as G;\nfn f() { super::x::y(); }",
        );
        let paths: Vec<String> = imports.paths.iter().map(|path| path.join("::")).collect();
        assert_eq!(paths, ["crate::a", "crate::a::B", "crate::c", "super::x::y"]);
        assert_eq!(imports.exported["G"], ["e", "F"]);
    }
}
