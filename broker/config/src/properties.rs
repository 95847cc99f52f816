//! Reader of Java's `.properties` format, as far as people use it in `server.properties`: comments,
//! `=`, `:` or blank as separator, continuation lines, escapes. Keys keep their order of definition
//! for error messages; a later definition wins, as in Java.

use std::collections::BTreeMap;

/// A line that cannot be read, by its number (from 1).
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("line {line}: {problem}")]
pub struct PropertiesError {
    pub line: usize,
    pub problem: String,
}

/// Parses the text of a properties file into its keys and values.
pub fn parse(text: &str) -> Result<BTreeMap<String, String>, PropertiesError> {
    let mut properties = BTreeMap::new();
    let mut lines = text.lines().enumerate();
    while let Some((index, line)) = lines.next() {
        let line = line.trim_start();
        if line.is_empty() || line.starts_with(['#', '!']) {
            continue;
        }
        let mut logical = line.to_owned();
        while ends_with_continuation(&logical) {
            logical.pop();
            match lines.next() {
                Some((_, next)) => logical.push_str(next.trim_start()),
                None => break,
            }
        }
        let (key, value) = split(&logical);
        let error = |problem: String| PropertiesError { line: index + 1, problem };
        let key = unescape(key).map_err(error)?;
        let value = unescape(value).map_err(error)?;
        if key.is_empty() {
            return Err(error("a value without a key".to_owned()));
        }
        properties.insert(key, value.trim_end().to_owned());
    }
    Ok(properties)
}

fn ends_with_continuation(line: &str) -> bool {
    line.bytes().rev().take_while(|&b| b == b'\\').count() % 2 == 1
}

/// Splits at the first unescaped `=`, `:` or white space; one `=` or `:` may follow white space.
fn split(line: &str) -> (&str, &str) {
    let mut escaped = false;
    for (at, c) in line.char_indices() {
        if escaped {
            escaped = false;
        } else if c == '\\' {
            escaped = true;
        } else if matches!(c, '=' | ':') || c.is_whitespace() {
            let rest = line[at..].trim_start();
            let rest = rest.strip_prefix(['=', ':']).unwrap_or(rest);
            return (&line[..at], rest.trim_start());
        }
    }
    (line, "")
}

fn unescape(text: &str) -> Result<String, String> {
    if !text.contains('\\') {
        return Ok(text.to_owned());
    }
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        if c != '\\' {
            out.push(c);
            continue;
        }
        match chars.next() {
            Some('t') => out.push('\t'),
            Some('n') => out.push('\n'),
            Some('r') => out.push('\r'),
            Some('f') => out.push('\x0c'),
            Some('u') => {
                let digits: String = chars.by_ref().take(4).collect();
                let code = u32::from_str_radix(&digits, 16).ok().filter(|_| digits.len() == 4);
                let c = code.and_then(char::from_u32);
                out.push(c.ok_or_else(|| format!("\\u{digits} is not a character"))?);
            }
            Some(other) => out.push(other),
            None => return Err("ends in a lone backslash".to_owned()),
        }
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn check(text: &str, expect: &[(&str, &str)]) {
        let parsed = parse(text).unwrap();
        let parsed: Vec<(&str, &str)> =
            parsed.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
        assert_eq!(parsed, expect, "{text:?}");
    }

    #[test]
    fn reads_what_java_reads() {
        check("# c\n! c\n\n a = b c \n", &[("a", "b c")]);
        check("a:b\nc d\ne\n", &[("a", "b"), ("c", "d"), ("e", "")]);
        check("a = x,\\\n   y\n", &[("a", "x,y")]);
        check("a=1\na=2\n", &[("a", "2")]);
        check("a\\ b=\\u0041\\\\", &[("a b", "A\\")]);
        check("url=http://x:1/?q=1", &[("url", "http://x:1/?q=1")]);
    }

    #[test]
    fn bad_lines_are_named() {
        assert_eq!(parse("a=1\n=2").unwrap_err().line, 2);
        assert_eq!(parse("a=\\u00zz").unwrap_err().line, 1);
    }
}
