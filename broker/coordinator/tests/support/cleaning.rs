//! What the log cleaner leaves of a coordinator's log. A shard that is loaded from it must be the
//! same as one that is loaded from all of the log: of each key the last record, in its place.

use std::collections::BTreeMap;
use std::fmt::Debug;

use bytes::Bytes;

pub type Stored = (Bytes, Option<Bytes>);

/// The log after a cleaning of its first `cleaned` records, once with tombstones and once without
/// those that were there long ago.
fn cleaned(log: &[Stored], cleaned: usize) -> [Vec<Stored>; 2] {
    let last: BTreeMap<&Bytes, usize> =
        log[..cleaned].iter().enumerate().map(|(at, (key, _))| (key, at)).collect();
    let left = |tombstones_from: usize| {
        let stays = |(at, (key, value)): &(usize, &Stored)| {
            let is_last = *at >= cleaned || last[key] == *at;
            is_last && (value.is_some() || *at >= tombstones_from)
        };
        log.iter().enumerate().filter(stays).map(|(_, record)| record.clone()).collect()
    };
    [left(0), left(cleaned)]
}

/// How far a log of so many records is cleaned, one time and another.
fn ends(records: usize) -> [usize; 3] {
    [records / 2, records * 3 / 4, records]
}

/// The shard that is loaded from all of a log. What it keeps, as `view` shows it, is the same after
/// every cleaning.
pub fn replayed<S, V: PartialEq + Debug>(
    log: &[Stored],
    load: impl Fn(&[Stored]) -> S,
    view: impl Fn(&S) -> V,
) -> S {
    let shard = load(log);
    let whole = view(&shard);
    for end in ends(log.len()) {
        for cleaned in cleaned(log, end) {
            assert_eq!(view(&load(&cleaned)), whole, "cleaned up to {end}");
        }
    }
    shard
}
