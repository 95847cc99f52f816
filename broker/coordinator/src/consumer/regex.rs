//! Subscriptions by regular expression, in RE2's syntax. An expression stands for the topics whose
//! whole name it matches; they are written down, and looked up again when topics have changed.

use std::collections::BTreeSet;
use std::sync::Arc;

use regex::{Regex, RegexBuilder};

use super::ConsumerGroup;
use super::change::Change;
use super::request::Sight;
use super::value::{ConsumerRecord, ResolvedRegex};
use crate::group::Cx;

/// Bytes of a compiled expression, and of its text.
const COMPILED_BYTES_MAX: usize = 1 << 20;
const TEXT_BYTES_MAX: usize = 16 << 10;
/// Brackets within brackets.
const NESTING_MAX: u32 = 100;
/// Between two looks through all topics for one group.
const RESOLVE_PAUSE_MS: i64 = 10_000;

/// The expression, anchored at both ends. The error is for people.
pub(super) fn compile(text: &str) -> Result<Regex, String> {
    if text.len() > TEXT_BYTES_MAX {
        return Err(format!("it is longer than {TEXT_BYTES_MAX} bytes"));
    }
    let build = |text: &str| {
        RegexBuilder::new(text)
            .size_limit(COMPILED_BYTES_MAX)
            .dfa_size_limit(COMPILED_BYTES_MAX)
            .nest_limit(NESTING_MAX)
            .build()
            .map_err(|error| error.to_string().replace('\n', " ").trim().to_string())
    };
    // By itself first: a bracket too many must not close the one that is put around it.
    build(text)?;
    build(&format!(r"\A(?:{text})\z"))
}

impl ConsumerGroup {
    /// Writes down what new expressions stand for, forgets those that nobody has any more, and
    /// looks all up again where topics have changed: those that the asking member may know of. True
    /// if any of it is news.
    pub(super) fn update_regexes(
        &mut self,
        cx: &Cx<'_>,
        sight: Option<&Sight>,
        change: &mut Change,
    ) -> bool {
        let wanted: BTreeSet<Arc<str>> =
            self.members.values().filter_map(|m| m.subscription.as_ref()?.regex.clone()).collect();
        let unused: Vec<Arc<str>> =
            self.regexes.keys().filter(|r| !wanted.contains(*r)).cloned().collect();
        let mut is_news = !unused.is_empty();
        for regex in unused {
            self.change(change, ConsumerRecord::Regex(regex, None));
        }
        let Some(sight) = sight else { return is_news };
        let is_due = self.regexes_seen != cx.view.number
            && self.regexes_resolved_ms.is_none_or(|at| cx.now_ms - at >= RESOLVE_PAUSE_MS);
        let asked: Vec<Arc<str>> = wanted
            .into_iter()
            .filter(|regex| is_due || !self.regexes.contains_key(regex))
            .collect();
        if !asked.is_empty() {
            for (regex, topics) in resolve(cx, sight, asked) {
                is_news |= self.note_resolved(cx, change, regex, topics);
            }
        }
        if is_due {
            self.regexes_seen = cx.view.number;
            self.regexes_resolved_ms = Some(cx.now_ms);
        }
        is_news
    }

    fn note_resolved(
        &mut self,
        cx: &Cx<'_>,
        change: &mut Change,
        regex: Arc<str>,
        topics: BTreeSet<Arc<str>>,
    ) -> bool {
        if self.regexes.get(&regex).is_some_and(|known| known.topics == topics) {
            return false;
        }
        let version = i64::try_from(cx.view.number).unwrap_or(i64::MAX);
        let resolved = ResolvedRegex { topics, version, resolved_ms: cx.wall_ms };
        self.change(change, ConsumerRecord::Regex(regex, Some(Arc::new(resolved))));
        true
    }

    /// Whether somebody subscribes by an expression.
    pub(super) fn has_regexes(&self) -> bool {
        !self.regexes.is_empty()
    }
}

/// An expression, and the topics that it stands for. One that an older broker let in and this one
/// cannot compile stands for nothing.
struct Look {
    text: Arc<str>,
    regex: Option<Regex>,
    topics: BTreeSet<Arc<str>>,
}

/// One look through all topics.
fn resolve(
    cx: &Cx<'_>,
    sight: &Sight,
    asked: Vec<Arc<str>>,
) -> Vec<(Arc<str>, BTreeSet<Arc<str>>)> {
    let look = |text: Arc<str>| {
        let regex = compile(&text).ok();
        Look { text, regex, topics: BTreeSet::new() }
    };
    let mut looks: Vec<Look> = asked.into_iter().map(look).collect();
    if let Some(cluster) = &cx.view.cluster {
        cluster.for_each_topic(&mut |name| {
            let is_meant = |look: &&mut Look| look.regex.as_ref().is_some_and(|r| r.is_match(name));
            // Asked of what an expression matches, not of every topic.
            let mut meant = looks.iter_mut().filter(is_meant).peekable();
            if meant.peek().is_some() && sight.sees(name) {
                for look in meant {
                    look.topics.insert(name.clone());
                }
            }
        });
    }
    looks.into_iter().map(|look| (look.text, look.topics)).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn an_expression_means_whole_names_and_is_bounded() {
        let regex = compile("a|b.*").unwrap();
        assert!(regex.is_match("a") && regex.is_match("bcd"));
        assert!(!regex.is_match("ab") && !regex.is_match("xa") && !regex.is_match("a\n"));
        for bad in ["a)|(b", "(", "[a", "a{1000000}", r"\1", "(?=a)"] {
            assert!(compile(bad).is_err(), "{bad}");
        }
        assert!(compile(&"a".repeat(TEXT_BYTES_MAX + 1)).is_err());
        assert!(compile("((a{100}){100}){100}").is_err());
    }
}
