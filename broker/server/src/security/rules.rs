//! `ssl.principal.mapping.rules`: from the subject of a certificate to the name of a principal, as
//! Kafka's `SslPrincipalMapper`. Patterns are those of RE2, without look-around and back
//! references: whoever connects chooses the subject, and no pattern may take long.

use regex::Regex;

/// A rule that cannot be read.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{0:?} {1}")]
pub struct RulesError(String, String);

/// Rules in their order; the first that fits gives the name.
#[derive(Clone, Debug)]
pub struct PrincipalRules(Vec<Rule>);

#[derive(Clone, Debug)]
enum Rule {
    /// The subject as it is.
    Default,
    Replace {
        pattern: Regex,
        replacement: String,
        case: Case,
    },
}

#[derive(Clone, Copy, Debug)]
enum Case {
    Kept,
    Lower,
    Upper,
}

impl PrincipalRules {
    /// `RULE:pattern/replacement/`, with `L` or `U` behind it, or `DEFAULT`, separated by commas.
    pub fn parse(text: &str) -> Result<PrincipalRules, RulesError> {
        let mut rules = Vec::new();
        let mut rest = text.trim();
        while !rest.is_empty() {
            let (rule, after) = rule(rest)?;
            rules.push(rule);
            let after = after.trim_start();
            rest = match after.strip_prefix(',') {
                Some(next) => next.trim_start(),
                None if after.is_empty() => after,
                None => return Err(error(after, "stands where a comma should")),
            };
        }
        if rules.is_empty() {
            rules.push(Rule::Default);
        }
        Ok(PrincipalRules(rules))
    }

    /// `None`: no rule fits, and the subject has no name.
    pub fn apply(&self, subject: &str) -> Option<String> {
        self.0.iter().find_map(|rule| rule.apply(subject))
    }
}

impl Rule {
    fn apply(&self, subject: &str) -> Option<String> {
        let Rule::Replace { pattern, replacement, case } = self else {
            return Some(subject.to_owned());
        };
        let captures = pattern.captures(subject)?;
        let mut name = String::new();
        captures.expand(replacement, &mut name);
        Some(match case {
            Case::Kept => name,
            Case::Lower => name.to_lowercase(),
            Case::Upper => name.to_uppercase(),
        })
    }
}

fn error(rule: &str, problem: &str) -> RulesError {
    RulesError(rule.to_owned(), problem.to_owned())
}

/// The first rule, and what follows.
fn rule(text: &str) -> Result<(Rule, &str), RulesError> {
    if let Some(rest) = text.strip_prefix("DEFAULT") {
        return Ok((Rule::Default, rest));
    }
    let form = || error(text, "is neither DEFAULT nor of the form RULE:pattern/replacement/[LU]");
    let rest = text.strip_prefix("RULE:").ok_or_else(form)?;
    let (pattern, rest) = to_slash(rest).ok_or_else(form)?;
    let (replacement, rest) = to_slash(rest).ok_or_else(form)?;
    let (case, rest) = match rest.as_bytes().first() {
        Some(b'L') => (Case::Lower, &rest[1..]),
        Some(b'U') => (Case::Upper, &rest[1..]),
        _ => (Case::Kept, rest),
    };
    // A rule fits a whole subject.
    let pattern = Regex::new(&format!("^(?:{pattern})$"));
    let pattern = pattern.map_err(|e| error(text, &format!("has a wrong pattern: {e}")))?;
    Ok((Rule::Replace { pattern, replacement: expandable(replacement), case }, rest))
}

/// What stands before the next slash that has no backslash before it, and behind that.
fn to_slash(text: &str) -> Option<(&str, &str)> {
    let mut escaped = false;
    for (at, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '/' => return Some((&text[..at], &text[at + 1..])),
            _ => {}
        }
    }
    None
}

/// Java's `$1` in the way of the library, which would take `$1x` for a group called `1x`.
fn expandable(replacement: &str) -> String {
    let mut out = String::with_capacity(replacement.len() + 4);
    let mut chars = replacement.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\\' => match chars.next() {
                Some('$') => out.push_str("$$"),
                Some(literal) => out.push(literal),
                None => {}
            },
            '$' if chars.peek().is_some_and(char::is_ascii_digit) => {
                out.push_str("${");
                while let Some(digit) = chars.next_if(char::is_ascii_digit) {
                    out.push(digit);
                }
                out.push('}');
            }
            '$' => out.push_str("$$"),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn name(rules: &str, subject: &str) -> Option<String> {
        PrincipalRules::parse(rules).unwrap().apply(subject)
    }

    /// The examples of Kafka's documentation.
    #[test]
    fn rules_give_names_as_kafka_does() {
        let rules = "RULE:^CN=(.*?),OU=ServiceUsers.*$/$1/, \
            RULE:^CN=(.*?),OU=(.*?),O=(.*?),L=(.*?),ST=(.*?),C=(.*?)$/$1@$2/L, \
            RULE:^.*[Cc][Nn]=([a-zA-Z0-9.]*).*$/$1/U, DEFAULT";
        let subject = "CN=kafka,OU=ServiceUsers,O=Org";
        assert_eq!(name(rules, subject).as_deref(), Some("kafka"));
        let subject = "CN=Admin,OU=admin,O=o,L=l,ST=s,C=c";
        assert_eq!(name(rules, subject).as_deref(), Some("admin@admin"));
        assert_eq!(name(rules, "OU=x,CN=duke").as_deref(), Some("DUKE"));
        assert_eq!(name(rules, "OU=x").as_deref(), Some("OU=x"));
        assert_eq!(name("RULE:^CN=a$/x/", "CN=ab"), None, "a rule fits the whole subject");
        assert_eq!(name("DEFAULT", "CN=a").as_deref(), Some("CN=a"));
        assert_eq!(name("RULE:CN=(.*)/$1x\\/y/", "CN=a").as_deref(), Some("ax/y"));
    }

    #[test]
    fn what_is_no_rule_is_named() {
        for bad in ["x", "RULE:a", "RULE:a/b", "RULE:(/b/", "DEFAULT x", "RULE:a/b/LDEFAULT"] {
            assert!(PrincipalRules::parse(bad).is_err(), "{bad}");
        }
    }
}
