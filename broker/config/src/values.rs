//! The texts of a configuration by their keys, and the errors that name them.

use std::collections::BTreeMap;
use std::str::FromStr;

use metadata::config::{Kind, broker_key};

use super::error::ConfigError;

/// Explicit values over defaults, every value already checked against its kind.
pub(super) struct Values(pub(super) BTreeMap<String, String>);

/// A value as messages have it: passwords are in none.
pub(super) fn shown(name: &str, value: &str) -> String {
    let is_secret = broker_key(name).is_some_and(|key| key.kind == Kind::Password);
    if is_secret { "[hidden]".to_owned() } else { value.to_owned() }
}

impl Values {
    pub(super) fn text(&self, name: &str) -> Option<String> {
        let default = broker_key(name).and_then(|key| key.default);
        self.0.get(name).map(String::as_str).or(default).map(str::to_owned)
    }

    pub(super) fn invalid(&self, name: &str, problem: String) -> ConfigError {
        let value = shown(name, &self.text(name).unwrap_or_default());
        ConfigError::Invalid { key: name.to_owned(), value, problem }
    }

    pub(super) fn get<T: FromStr>(&self, name: &str) -> Result<T, ConfigError> {
        self.optional(name)?.ok_or_else(|| ConfigError::Missing {
            key: name.to_owned(),
            problem: "it has no default".to_owned(),
        })
    }

    pub(super) fn required<T: FromStr>(&self, name: &str, problem: &str) -> Result<T, ConfigError> {
        self.optional(name)?.ok_or_else(|| ConfigError::Missing {
            key: name.to_owned(),
            problem: problem.to_owned(),
        })
    }

    pub(super) fn optional<T: FromStr>(&self, name: &str) -> Result<Option<T>, ConfigError> {
        match self.text(name) {
            None => Ok(None),
            Some(text) => match text.parse() {
                Ok(value) => Ok(Some(value)),
                Err(_) => Err(self.invalid(name, "out of range".to_owned())),
            },
        }
    }

    pub(super) fn list(&self, name: &str) -> Vec<String> {
        let text = self.text(name).unwrap_or_default();
        text.split(',').map(|s| s.trim().to_owned()).filter(|s| !s.is_empty()).collect()
    }
}
