//! Just enough of Rust's lexical structure to measure functions: comments, strings and character
//! literals are blanked out, so that braces and words in them do not count.

/// The text with the contents of comments and literals replaced by spaces; lines stay where they
/// are.
pub fn blank(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = bytes.to_vec();
    let mut at = 0;
    while at < bytes.len() {
        let end = literal_end(bytes, at);
        match end {
            Some(end) => {
                for byte in &mut out[at..end] {
                    if *byte != b'\n' {
                        *byte = b' ';
                    }
                }
                at = end;
            }
            None => at += 1,
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// A blanked text without the tests at its end.
pub fn without_tests(blanked: &str) -> &str {
    let tests = ["#[cfg(test)]\nmod tests", "#[cfg(test)]\n#[allow"];
    let ends = tests.iter().filter_map(|tests| blanked.find(tests));
    &blanked[..ends.min().unwrap_or(blanked.len())]
}

/// Where the comment or literal that starts here ends; `None` if none starts here.
fn literal_end(bytes: &[u8], at: usize) -> Option<usize> {
    let rest = &bytes[at..];
    match rest {
        [b'/', b'/', ..] => Some(at + rest.iter().position(|b| *b == b'\n').unwrap_or(rest.len())),
        [b'/', b'*', ..] => Some(at + block_comment(rest)),
        [b'"', ..] => Some(at + quoted(rest)),
        [b'r', b'"' | b'#', ..] if !continues_word(bytes, at) => raw_string(rest).map(|n| at + n),
        [b'\'', ..] => character(rest).map(|n| at + n),
        _ => None,
    }
}

fn continues_word(bytes: &[u8], at: usize) -> bool {
    // `br"..."` is a raw string as well: the `b` before it changes nothing.
    at > 0
        && (bytes[at - 1].is_ascii_alphanumeric() || bytes[at - 1] == b'_')
        && bytes[at - 1] != b'b'
}

fn block_comment(rest: &[u8]) -> usize {
    let (mut depth, mut i) = (0, 0);
    while i + 1 < rest.len() {
        match &rest[i..i + 2] {
            b"/*" => (depth, i) = (depth + 1, i + 2),
            b"*/" => (depth, i) = (depth - 1, i + 2),
            _ => i += 1,
        }
        if depth == 0 {
            return i;
        }
    }
    rest.len()
}

fn quoted(rest: &[u8]) -> usize {
    let mut i = 1;
    while i < rest.len() {
        match rest[i] {
            b'\\' => i += 2,
            b'"' => return i + 1,
            _ => i += 1,
        }
    }
    rest.len()
}

fn raw_string(rest: &[u8]) -> Option<usize> {
    let hashes = rest[1..].iter().take_while(|b| **b == b'#').count();
    if rest.get(1 + hashes) != Some(&b'"') {
        return None;
    }
    let close: Vec<u8> = [b"\"".to_vec(), vec![b'#'; hashes]].concat();
    let body = 2 + hashes;
    let found = rest[body..].windows(close.len()).position(|window| window == close);
    Some(found.map_or(rest.len(), |i| body + i + close.len()))
}

/// A character literal, as opposed to a lifetime.
fn character(rest: &[u8]) -> Option<usize> {
    if rest.get(1) == Some(&b'\\') {
        let close = rest[3.min(rest.len())..].iter().position(|b| *b == b'\'')?;
        return Some(3 + close + 1);
    }
    let text = std::str::from_utf8(&rest[1..rest.len().min(6)])
        .or_else(|error| std::str::from_utf8(&rest[1..1 + error.valid_up_to()]));
    let first = text.ok()?.chars().next()?;
    let close = 1 + first.len_utf8();
    (rest.get(close) == Some(&b'\'')).then_some(close + 1)
}

/// A function's name, first line (from 1) and number of lines.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Function {
    pub name: String,
    pub line: usize,
    pub lines: usize,
}

/// The functions with a body in a blanked text.
pub fn functions(blanked: &str) -> Vec<Function> {
    let mut found = Vec::new();
    let mut from = 0;
    while let Some(i) = blanked[from..].find("fn ") {
        let start = from + i;
        from = start + 3;
        if start > 0 && continues_identifier(blanked.as_bytes()[start - 1]) {
            continue;
        }
        let rest = &blanked[from..];
        let name: String = rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
        if name.is_empty() {
            continue;
        }
        let Some(length) = body_end(rest) else { continue };
        let line = blanked[..start].matches('\n').count() + 1;
        let lines = rest[..length].matches('\n').count() + 1;
        found.push(Function { name, line, lines });
    }
    found
}

fn continues_identifier(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

/// Bytes from after `fn ` to the closing brace; `None` for a declaration without a body.
fn body_end(rest: &str) -> Option<usize> {
    let (mut depth, mut brackets, mut opened) = (0_usize, 0_usize, false);
    for (i, byte) in rest.bytes().enumerate() {
        match byte {
            // `[u8; 4]` in a signature is not the end of a declaration.
            b'[' | b'(' => brackets += 1,
            b']' | b')' => brackets = brackets.saturating_sub(1),
            b';' if !opened && brackets == 0 => return None,
            b'{' => (depth, opened) = (depth + 1, true),
            b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        if opened && depth == 0 {
            return Some(i);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn literals_and_comments_are_blanked() {
        let text = "a \"{\\\"\" b // {\nc '{' 'x /* { /* } */ */ d r#\"{\"# e '\\'' f";
        let blanked = blank(text);
        assert!(!blanked.contains('{') && !blanked.contains('}'), "{blanked}");
        for word in ["a", "b", "c", "'x", "d", "e", "f"] {
            assert!(blanked.contains(word), "{word} in {blanked}");
        }
        assert_eq!(blanked.len(), text.len());
    }

    #[test]
    fn functions_are_measured_to_their_closing_brace() {
        let text = "fn one() {\n  if x { y }\n}\ntrait T {\n  fn none(&self, a: [u8; 4]);\n}\n\
                    const fn two(f: fn(u8) -> u8)\nwhere\n  A: B,\n{\n}\n";
        let found = functions(&blank(text));
        let names: Vec<_> = found.iter().map(|f| (f.name.as_str(), f.line, f.lines)).collect();
        assert_eq!(names, [("one", 1, 3), ("two", 7, 5)]);
    }
}
