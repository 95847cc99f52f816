//! Why a configuration is refused. Every message names the key.

/// What is wrong with a configuration.
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
