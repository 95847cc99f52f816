//! What is in a log's directory at start, once leftovers are gone.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use base::Offset;

use crate::clean::redo::redo;
use crate::format::{self, Entry, Suffix};
use crate::producer_state::ProducerState;
use crate::{LoadState, LogContext, LogError, checkpoint, producer_snapshot};

/// Producer snapshots by offset; read only where their content is needed.
pub(crate) type SnapshotMap = BTreeMap<Offset, Option<ProducerState>>;

pub(crate) fn create_dir(context: &LogContext, dir: &Path) -> Result<(), LogError> {
    if context.fs.exists(dir) {
        return Ok(());
    }
    context.fs.create_dir_all(dir).map_err(|e| LogError::io("create", dir, e))?;
    checkpoint::sync_parent(&*context.fs, dir)
}

#[derive(Default)]
pub(crate) struct Files {
    pub bases: Vec<Offset>,
    pub snapshots: BTreeSet<Offset>,
    pub findings: Vec<String>,
}

/// What is in the directory, after row H.
pub(crate) fn list(context: &LogContext, dir: &Path) -> Result<Files, LogError> {
    let fs = &*context.fs;
    let remove = |name: &str| {
        let path = dir.join(name);
        fs.remove_file(&path).map_err(|e| LogError::io("remove", &path, e))
    };
    let mut files = Files::default();
    let names = || fs.list(dir).map_err(|e| LogError::io("list", dir, e));
    let mut listed = names()?;
    for name in &listed {
        if format::classify(name) == Entry::Leftover {
            remove(name)?;
        }
    }
    if redo(fs, dir, &listed)? {
        files.findings.push("finished a cleaning that was cut short".to_owned());
    }
    listed = names()?;
    let entries: Vec<(&String, Offset, Suffix)> = listed
        .iter()
        .filter_map(|name| match format::classify(name) {
            Entry::Data(offset, suffix) => Some((name, offset, suffix)),
            _ => None,
        })
        .collect();
    let bases: BTreeSet<Offset> =
        entries.iter().filter(|e| e.2 == Suffix::Log).map(|e| e.1).collect();
    for (name, offset, suffix) in entries {
        match suffix {
            Suffix::ProducerSnapshot => {
                files.snapshots.insert(offset);
            }
            Suffix::Log => {}
            _ if bases.contains(&offset) => {}
            _ => {
                files.findings.push(format!("removed {name}, which has no log file"));
                remove(name)?;
            }
        }
    }
    files.bases = bases.into_iter().collect();
    Ok(files)
}

/// The snapshots that may be used, the newest of them intact: all after a clean shutdown, else
/// those at or below the recovery point. The others are removed.
pub(crate) fn usable_snapshots(
    context: &LogContext,
    dir: &Path,
    found: &BTreeSet<Offset>,
    state: &LoadState,
) -> Result<SnapshotMap, LogError> {
    let fs = &*context.fs;
    let mut usable = BTreeMap::new();
    let mut newest_is_intact = false;
    for &offset in found.iter().rev() {
        let allowed = state.clean_shutdown || offset <= state.recovery_point;
        if !allowed {
            producer_snapshot::remove(fs, dir, offset)?;
            continue;
        }
        if newest_is_intact {
            usable.insert(offset, None);
            continue;
        }
        match producer_snapshot::read(fs, dir, offset)? {
            Some(state) => {
                newest_is_intact = true;
                usable.insert(offset, Some(state));
            }
            None => producer_snapshot::remove(fs, dir, offset)?,
        }
    }
    Ok(usable)
}
