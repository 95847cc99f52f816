//! The checker of the bank-transfer test: what transactional producers say that they did, against
//! what readers of committed records saw.
//!
//! A transfer is one transaction of two records, a debit and a credit of the same amount. It goes
//! within one partition or from one to another. The program writes a line per event:
//!
//! | line | meaning |
//! |---|---|
//! | `begin ID` | the transfer begins |
//! | `commit ID`, `abort ID` | it was acknowledged as committed, as aborted |
//! | `unknown ID` | the producer was fenced or gave up: either may be true |
//! | `snapshot N PARTITION` | snapshot N of a partition: all below its last stable offset |
//! | `read N PARTITION OFFSET ID ACCOUNT DELTA` | a record in it |
//! | `stable PARTITION STABLE HIGH` | last stable offset and high watermark at the end |
//!
//! Snapshots of the number `final` are taken of every partition after everything came to rest.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, bail, ensure};

/// The number of the last snapshots.
const FINAL: &str = "final";

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Outcome {
    Begun,
    Committed,
    Aborted,
    Unknown,
}

#[derive(Clone, Debug)]
struct Read {
    partition: i32,
    offset: i64,
    transfer: String,
    account: i64,
    delta: i64,
}

/// What was counted.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Counts {
    pub committed: usize,
    pub aborted: usize,
    pub unknown: usize,
    pub snapshots: usize,
}

#[derive(Default)]
struct History {
    transfers: BTreeMap<String, Outcome>,
    /// By number and partition.
    snapshots: BTreeMap<(String, i32), Vec<Read>>,
    stable: BTreeMap<i32, (i64, i64)>,
}

/// Checks a history; the error names the first anomaly.
pub fn check(lines: &str) -> Result<Counts> {
    let history = parse(lines)?;
    for ((number, partition), reads) in &history.snapshots {
        let snapshot = || format!("snapshot {number} of partition {partition}");
        check_reads(&history, reads).with_context(snapshot)?;
        check_whole(&inside(reads)).with_context(snapshot)?;
    }
    check_growth(&history)?;
    check_final(&history)?;
    let count = |wanted| history.transfers.values().filter(|o| **o == wanted).count();
    Ok(Counts {
        committed: count(Outcome::Committed),
        aborted: count(Outcome::Aborted),
        unknown: count(Outcome::Unknown) + count(Outcome::Begun),
        snapshots: history.snapshots.len(),
    })
}

fn parse(lines: &str) -> Result<History> {
    let mut history = History::default();
    for line in lines.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        let outcome = match words.first() {
            Some(&"begin") => Outcome::Begun,
            Some(&"commit") => Outcome::Committed,
            Some(&"abort") => Outcome::Aborted,
            Some(&"unknown") => Outcome::Unknown,
            _ => {
                note_seen(&mut history, &words).with_context(|| line.to_owned())?;
                continue;
            }
        };
        let [_, id] = words[..] else { bail!("not a line: {line}") };
        let before = history.transfers.insert(id.to_owned(), outcome);
        let may_follow = match before {
            None => outcome == Outcome::Begun,
            Some(before) => before == Outcome::Begun && outcome != Outcome::Begun,
        };
        ensure!(may_follow, "{line} after {before:?}");
    }
    Ok(history)
}

fn note_seen(history: &mut History, words: &[&str]) -> Result<()> {
    match *words {
        ["snapshot", number, partition] => {
            let key = (number.to_owned(), partition.parse()?);
            ensure!(history.snapshots.insert(key, Vec::new()).is_none(), "twice");
        }
        ["read", number, partition, offset, transfer, account, delta] => {
            let (partition, transfer) = (partition.parse()?, transfer.to_owned());
            let (offset, account, delta) = (offset.parse()?, account.parse()?, delta.parse()?);
            let snapshot = history.snapshots.get_mut(&(number.to_owned(), partition));
            let snapshot = snapshot.context("of no snapshot")?;
            snapshot.push(Read { partition, offset, transfer, account, delta });
        }
        ["stable", partition, stable, high] => {
            history.stable.insert(partition.parse()?, (stable.parse()?, high.parse()?));
        }
        _ => bail!("not a line"),
    }
    Ok(())
}

/// Nothing aborted is read (G1a), nothing that nobody wrote, nothing twice.
fn check_reads(history: &History, reads: &[Read]) -> Result<()> {
    let mut seen = BTreeSet::new();
    let mut last = -1;
    for read in reads {
        let Read { offset, transfer, account, .. } = read;
        match history.transfers.get(transfer) {
            None => bail!("offset {offset}: transfer {transfer} was never begun"),
            Some(Outcome::Aborted) => bail!("offset {offset}: transfer {transfer} was aborted"),
            Some(_) => {}
        }
        ensure!(*offset > last, "offset {offset} after {last}");
        last = *offset;
        let is_new = seen.insert((transfer, account));
        ensure!(is_new, "offset {offset}: transfer {transfer} is there twice");
    }
    Ok(())
}

/// The reads of transfers that stay within a partition. Their ids say so.
fn inside(reads: &[Read]) -> Vec<&Read> {
    reads.iter().filter(|read| read.transfer.starts_with("in-")).collect()
}

/// No transfer is half visible (G1b), so that what there is sums up to nothing.
fn check_whole(reads: &[&Read]) -> Result<()> {
    let mut transfers: BTreeMap<&str, Vec<&Read>> = BTreeMap::new();
    for read in reads {
        transfers.entry(&read.transfer).or_default().push(read);
    }
    for (transfer, records) in transfers {
        let sum: i64 = records.iter().map(|read| read.delta).sum();
        let whole = records.len() == 2 && sum == 0;
        ensure!(whole, "transfer {transfer} is half visible: {records:?}");
    }
    let sum: i64 = reads.iter().map(|read| read.delta).sum();
    ensure!(sum == 0, "the sum is {sum}");
    Ok(())
}

/// What a snapshot saw, every later one of the partition sees at the same offset.
fn check_growth(history: &History) -> Result<()> {
    let mut last: BTreeMap<i32, &[Read]> = BTreeMap::new();
    let number = |number: &str| number.parse::<u64>().unwrap_or(u64::MAX);
    let mut snapshots: Vec<_> = history.snapshots.iter().collect();
    snapshots.sort_by_key(|((name, partition), _)| (number(name), *partition));
    for ((name, partition), reads) in snapshots {
        let places = |reads: &[Read]| -> Vec<(i64, String)> {
            reads.iter().map(|read| (read.offset, read.transfer.clone())).collect()
        };
        if let Some(before) = last.insert(*partition, reads) {
            let goes_on = places(reads).starts_with(&places(before));
            ensure!(goes_on, "snapshot {name} of partition {partition} lost or moved records");
        }
    }
    Ok(())
}

/// All that was acknowledged is there, whole over all partitions, and nothing is left open.
fn check_final(history: &History) -> Result<()> {
    let last = history.snapshots.iter().filter(|((number, _), _)| number == FINAL);
    let reads: Vec<&Read> = last.flat_map(|(_, reads)| reads).collect();
    ensure!(!reads.is_empty(), "no final snapshot");
    check_whole(&reads).context("at the end")?;
    let visible: BTreeSet<&str> = reads.iter().map(|read| &*read.transfer).collect();
    for (transfer, outcome) in &history.transfers {
        let lost = *outcome == Outcome::Committed && !visible.contains(&**transfer);
        ensure!(!lost, "transfer {transfer} was committed and is lost");
    }
    let partitions: BTreeSet<i32> = reads.iter().map(|read| read.partition).collect();
    for partition in partitions {
        let (stable, high) = history.stable.get(&partition).context("no stable offset")?;
        ensure!(stable == high, "partition {partition}: open from {stable}, it ends at {high}");
    }
    Ok(())
}

#[cfg(test)]
#[path = "bank_tests.rs"]
mod tests;
