//! A cleaned segment whose names were cut short by the end of the process. `.swap` of a log is the
//! decision: it is durable only once all that it stands for is, and it takes its final name last.
//! So where it is found, what it replaces goes, and it comes in; without it nothing was replaced.

use std::collections::BTreeSet;
use std::path::Path;

use base::Offset;
use record::{BatchHeader, HEADER_BYTES};

use crate::clean::write::KINDS;
use crate::format::{Entry, SWAP, Suffix, classify, file_name, swapped_name};
use crate::fs::{File, Fs, OpenMode};
use crate::{LogError, checkpoint};

/// Bytes read at once on the way through the headers.
const WALK_BYTES: usize = 64 * 1024;

/// Finishes, or takes back, what `.swap` files in the directory stand for. True if there were any.
pub(crate) fn redo(fs: &dyn Fs, dir: &Path, names: &[String]) -> Result<bool, LogError> {
    let swaps: Vec<&String> = names.iter().filter(|name| classify(name) == Entry::Swap).collect();
    let is_log = |name: &&&String| swapped_name(name).ends_with(Suffix::Log.text());
    let bases: BTreeSet<Offset> = swaps
        .iter()
        .filter(is_log)
        .filter_map(|name| match classify(swapped_name(name)) {
            Entry::Data(base, _) => Some(base),
            _ => None,
        })
        .collect();
    for name in &swaps {
        let is_wanted = matches!(
            classify(swapped_name(name)),
            Entry::Data(base, _) if bases.contains(&base)
        );
        if !is_wanted {
            remove(fs, &dir.join(name))?;
        }
    }
    for base in &bases {
        finish(fs, dir, *base, names)?;
    }
    if !swaps.is_empty() {
        checkpoint::sync_dir(fs, dir)?;
    }
    Ok(!swaps.is_empty())
}

fn finish(fs: &dyn Fs, dir: &Path, base: Offset, names: &[String]) -> Result<(), LogError> {
    let end = end_of(fs, &swap_path(dir, base, Suffix::Log))?;
    for name in names {
        if let Entry::Data(old, kind) = classify(name)
            && kind != Suffix::ProducerSnapshot
            && base < old
            && old < end
        {
            remove(fs, &dir.join(name))?;
        }
    }
    // One that has its name already is not here any more; the log's own is the last.
    for kind in KINDS {
        rename_swap(fs, dir, base, kind)?;
    }
    Ok(())
}

fn swap_path(dir: &Path, base: Offset, kind: Suffix) -> std::path::PathBuf {
    dir.join(format!("{}{SWAP}", file_name(base, kind)))
}

/// Gives a `.swap` file its name; one that is not there had it already.
pub(crate) fn rename_swap(
    fs: &dyn Fs,
    dir: &Path,
    base: Offset,
    kind: Suffix,
) -> Result<(), LogError> {
    let (from, to) = (swap_path(dir, base, kind), dir.join(file_name(base, kind)));
    match fs.rename(&from, &to) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(LogError::io("rename", &to, e)),
        _ => Ok(()),
    }
}

/// Removes the files of an unfinished cleaning, the log's `.swap` first: without it the others
/// stand for nothing.
pub(crate) fn take_back(fs: &dyn Fs, dir: &Path, base: Offset) -> Result<(), LogError> {
    for kind in KINDS.iter().rev() {
        for suffix in [SWAP, crate::format::CLEANED] {
            remove(fs, &dir.join(format!("{}{suffix}", file_name(base, *kind))))?;
        }
    }
    Ok(())
}

fn remove(fs: &dyn Fs, path: &Path) -> Result<(), LogError> {
    match fs.remove_file(path) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(LogError::io("remove", path, e)),
        _ => Ok(()),
    }
}

/// The offset after the last batch of a log file that was finished.
fn end_of(fs: &dyn Fs, path: &Path) -> Result<Offset, LogError> {
    let error = |e| LogError::io("read", path, e);
    let file = fs.open(path, OpenMode::Read).map_err(error)?;
    let len = file.len().map_err(error)?;
    let (mut position, mut end) = (0u64, 0);
    let mut window = Window { file: &*file, buf: vec![0; WALK_BYTES], start: 0, filled: 0 };
    while position < len {
        let header = BatchHeader::parse(window.at(position).map_err(error)?)
            .map_err(|e| corrupt(path, format!("position {position}: {e}")))?;
        position += header.size() as u64;
        end = header.next_offset();
    }
    if position != len {
        return Err(corrupt(path, "its last batch is cut off".to_owned()));
    }
    Ok(end)
}

fn corrupt(path: &Path, reason: String) -> LogError {
    LogError::Corrupt { path: path.to_owned(), reason }
}

struct Window<'a> {
    file: &'a dyn File,
    buf: Vec<u8>,
    start: u64,
    filled: usize,
}

impl Window<'_> {
    fn at(&mut self, position: u64) -> std::io::Result<&[u8]> {
        let end = self.start + self.filled as u64;
        if position < self.start || position + HEADER_BYTES as u64 > end {
            self.filled = self.file.read_at(&mut self.buf, position)?;
            self.start = position;
        }
        Ok(&self.buf[(position - self.start) as usize..self.filled])
    }
}
