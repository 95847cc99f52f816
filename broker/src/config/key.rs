//! What is known of one configuration key: its type and range, Kafka's default, and what this
//! broker does with it.

use std::fmt;

/// Type and range of a value.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Kind {
    Bool,
    /// 32-bit integer, not below the bound.
    Int(i32),
    /// 64-bit integer, not below the bound.
    Long(i64),
    Double,
    Text,
    /// Comma-separated.
    List,
    /// One of these words.
    OneOf(&'static [&'static str]),
    /// Never printed.
    Password,
}

/// What happens when the key is set.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Support {
    /// Acted upon.
    Used,
    /// Tunes a mechanism that this broker does not have (thread counts, JVM classes, KRaft files).
    /// Any valid value is accepted with a warning.
    Harmless,
    /// Changes what clients may rely on (security, quotas, tiering). Any value but the default is
    /// an error until the broker does what it says.
    DefaultOnly,
}

/// One key. `default` is Kafka's text; `None` stands for null.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Key {
    pub name: &'static str,
    pub kind: Kind,
    pub default: Option<&'static str>,
    pub support: Support,
}

/// Why a configuration is refused. Every message names the key.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("cannot read {path}: {problem}")]
    File { path: String, problem: String },
    #[error("unknown configuration key {key}{}", hint(.suggestion))]
    Unknown { key: String, suggestion: Option<String> },
    #[error("invalid value {value:?} for configuration key {key}: {problem}")]
    Invalid { key: String, value: String, problem: String },
    #[error("configuration key {key} is required: {problem}")]
    Missing { key: String, problem: String },
    #[error("configuration key {key} is not supported with value {value:?} (default: {default})")]
    Unsupported { key: String, value: String, default: String },
    #[error("override {0:?} is not of the form key=value")]
    Override(String),
}

fn hint(suggestion: &Option<String>) -> String {
    suggestion.as_ref().map(|s| format!(" (did you mean {s}?)")).unwrap_or_default()
}

impl Kind {
    /// Checks that a text is a value of this kind.
    pub fn check(self, text: &str) -> Result<(), String> {
        match self {
            Kind::Bool => match text {
                "true" | "false" => Ok(()),
                _ => Err("expected true or false".to_owned()),
            },
            Kind::Int(min) => at_least(text.parse().ok(), min, "an integer"),
            Kind::Long(min) => at_least(text.parse().ok(), min, "a 64-bit integer"),
            Kind::Double => match text.parse::<f64>() {
                Ok(value) if value.is_finite() => Ok(()),
                _ => Err("expected a number".to_owned()),
            },
            Kind::OneOf(words) if !words.contains(&text) => {
                Err(format!("expected one of {}", words.join(", ")))
            }
            Kind::OneOf(_) | Kind::Text | Kind::List | Kind::Password => Ok(()),
        }
    }
}

fn at_least<T: PartialOrd + fmt::Display>(
    value: Option<T>,
    min: T,
    what: &str,
) -> Result<(), String> {
    match value {
        Some(value) if value >= min => Ok(()),
        Some(_) => Err(format!("must be at least {min}")),
        None => Err(format!("expected {what}")),
    }
}

const fn key(
    name: &'static str,
    kind: Kind,
    default: Option<&'static str>,
    support: Support,
) -> Key {
    Key { name, kind, default, support }
}

pub(super) const fn used(name: &'static str, kind: Kind, default: &'static str) -> Key {
    key(name, kind, Some(default), Support::Used)
}

pub(super) const fn used_null(name: &'static str, kind: Kind) -> Key {
    key(name, kind, None, Support::Used)
}

pub(super) const fn harmless(name: &'static str, kind: Kind, default: &'static str) -> Key {
    key(name, kind, Some(default), Support::Harmless)
}

pub(super) const fn harmless_null(name: &'static str, kind: Kind) -> Key {
    key(name, kind, None, Support::Harmless)
}

pub(super) const fn refused(name: &'static str, kind: Kind, default: &'static str) -> Key {
    key(name, kind, Some(default), Support::DefaultOnly)
}

pub(super) const fn refused_null(name: &'static str, kind: Kind) -> Key {
    key(name, kind, None, Support::DefaultOnly)
}
