//! What tidy finds.

use std::fmt;

/// A broken rule.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Finding {
    pub place: String,
    pub rule: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.rule)
    }
}

pub fn finding(place: impl fmt::Display, rule: impl fmt::Display) -> Finding {
    Finding { place: place.to_string(), rule: rule.to_string() }
}
