//! `cordoned.log.dirs` (KIP-1066): directories that get no new replicas. A broker with all of them
//! cordoned is passed over by placement.

use std::sync::Arc;

use super::list_items;

/// The key: static in a broker's file, dynamic for one broker.
pub const CORDONED_LOG_DIRS: &str = "cordoned.log.dirs";
/// Stands for every directory.
const ALL: &str = "*";

/// Whether the value names only directories of the broker; the error is for the user.
pub fn check_cordon(value: &str, dirs: &[Arc<str>]) -> Result<(), String> {
    let items = list_items(value);
    if items == [ALL] {
        return Ok(());
    }
    match items.iter().find(|item| !dirs.iter().any(|dir| dir.as_ref() == **item)) {
        None => Ok(()),
        Some(stranger) => {
            Err(format!("All entries must be * or entries of log.dirs, but {stranger} is not"))
        }
    }
}

/// Whether the value cordons this directory.
pub fn is_dir_cordoned(value: &str, dir: &str) -> bool {
    let items = list_items(value);
    items == [ALL] || items.contains(&dir)
}

/// Whether the value leaves no directory for new replicas.
pub fn is_cordoned(value: &str, dirs: &[Arc<str>]) -> bool {
    let items = list_items(value);
    items == [ALL] || (!dirs.is_empty() && dirs.iter().all(|dir| items.contains(&dir.as_ref())))
}
