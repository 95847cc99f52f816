//! What IncrementalAlterConfigs does to a config.

use serde::{Deserialize, Serialize};

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum ConfigOpKind {
    Set,
    Delete,
    /// Adds to a list config.
    Append,
    /// Removes from a list config.
    Subtract,
}

impl ConfigOpKind {
    pub fn from_i8(code: i8) -> Option<ConfigOpKind> {
        match code {
            0 => Some(ConfigOpKind::Set),
            1 => Some(ConfigOpKind::Delete),
            2 => Some(ConfigOpKind::Append),
            3 => Some(ConfigOpKind::Subtract),
            _ => None,
        }
    }
}
