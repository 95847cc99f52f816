//! Cleaning by keys against a model, through kills, power losses and failures of the disk, with
//! producers, transactions and tombstones: a reader of committed data finds the last record of each
//! key, only what was written, and tombstones for as long as they are promised.

mod faults;
mod world;

use crate::fs::Fs;
use world::{World, config_of};

use super::*;

#[test]
fn a_cleaned_log_is_the_model() {
    for seed in 0..100 {
        let mut world = World::new(seed, config_of(seed));
        for _ in 0..60 {
            world.step();
        }
        world.end_all();
        for _ in 0..3 {
            world.roll();
            world.advance(world.draw(2000));
            world.clean(world.draw(2) == 0);
            world.check();
            world.restart_cleanly();
            world.check();
        }
        world.restart_from_nothing();
        world.check();
    }
}

#[test]
fn a_log_shrinks_to_its_keys() {
    let mut world = World::new(1, config_of(0));
    for _ in 0..400 {
        world.append_keys(&[1, 2, 3]);
    }
    world.roll();
    let before = world.log.size();
    while world.clean(false) {}
    assert!(world.log.size() < before / 12, "{} of {before}", world.log.size());
    // What is small by now becomes one.
    world.force_clean();
    assert!(world.log.size() < before / 50, "{} of {before}", world.log.size());
    assert!(!world.log.clean_work(i64::MAX, world.now).unwrap().is_due(world.now).unwrap());
    world.check();
    assert_eq!(world.committed().len(), 3);
    // Old files go when their delay is over, and only then.
    assert!(!files(&world.fs, ".deleted").is_empty());
    for path in world.log.take_due_deletions(i64::MAX) {
        world.fs.remove_file(&path).unwrap();
    }
    assert!(files(&world.fs, ".deleted").is_empty());
}

#[test]
fn a_tombstone_goes_after_its_time() {
    let mut world = World::new(1, LogConfig { delete_retention_ms: 1000, ..config_of(0) });
    world.append_keys(&[1]);
    world.append_tombstone(1);
    world.append_keys(&[2]);
    world.roll();
    world.append_keys(&[3]);
    let keys = |world: &World| world.committed().iter().map(|r| r.0).collect::<Vec<_>>();
    world.clean(false);
    assert_eq!(keys(&world), [1, 2, 3], "the tombstone, and the last of the others");
    world.advance(999);
    world.force_clean();
    assert_eq!(keys(&world), [1, 2, 3]);
    world.advance(1);
    world.force_clean();
    assert_eq!(keys(&world), [2, 3]);
    world.check();
}

#[test]
fn nothing_undecided_is_cleaned() {
    let mut world = World::new(1, config_of(0));
    world.append_keys(&[1, 1, 1]);
    world.roll();
    world.transact(0, &[2, 2]);
    world.append_keys(&[2, 2]);
    world.roll();
    world.append_keys(&[1]);
    world.roll();
    while world.clean(false) {}
    assert!(world.log.cleaned_offset() <= 3, "the open transaction begins at 3");
    world.check();
    world.end_transaction(0, false);
    world.roll();
    while world.clean(false) {}
    world.check();
    assert_eq!(world.committed().len(), 2);
}

#[test]
fn what_was_cut_or_deleted_meanwhile_is_not_put_in_place() {
    for deleted in [false, true] {
        let mut world = World::new(1, config_of(0));
        for _ in 0..40 {
            world.append_keys(&[1, 2]);
        }
        world.roll();
        let mut cleaning = world.begin(1 << 20).unwrap();
        let group = cleaning.next_group(&mut |_| true).unwrap().unwrap();
        assert!(!files(&world.fs, ".swap").is_empty());
        if deleted {
            world.log.delete_records(60, 80).unwrap();
            assert!(world.log.retention(NOW, 80).unwrap() > 0);
        } else {
            world.log.truncate_to(5).unwrap();
            assert!(files(&world.fs, ".swap").is_empty());
        }
        let before = contents_of(&world.log);
        assert!(!world.log.swap(&group, NOW).unwrap());
        assert!(files(&world.fs, ".swap").is_empty());
        world.log.validate();
        assert_eq!(contents_of(&world.log), before);
        let mut rng = 5;
        world.fs.crash(&mut rng);
        let log = open_with(&world.fs, config_of(0), LoadState::default()).0;
        assert!(log.end_offset() <= world.log.end_offset());
    }
}

#[test]
fn a_stopped_cleaning_leaves_nothing_behind() {
    let mut world = World::new(1, config_of(0));
    for _ in 0..40 {
        world.append_keys(&[1, 2]);
    }
    world.roll();
    let before = contents_of(&world.log);
    let mut cleaning = world.begin(1 << 20).unwrap();
    let stopped = cleaning.next_group(&mut |_| false).map(|_| ());
    assert!(matches!(stopped, Err(crate::CleanError::Stopped)));
    assert!(files(&world.fs, ".cleaned").is_empty());
    assert_eq!(contents_of(&world.log), before);
}

#[test]
fn a_damaged_segment_is_named_and_stays() {
    let mut world = World::new(1, config_of(0));
    for _ in 0..40 {
        world.append_keys(&[1, 2]);
    }
    world.roll();
    let path = dir().join("00000000000000000000.log");
    let mut bytes = world.fs.contents(&path).unwrap();
    bytes[70] ^= 1;
    world.fs.put(&path, &bytes).unwrap();
    let error = world.begin(1 << 20).map(|_| ()).unwrap_err();
    assert!(error.to_string().contains("00000000000000000000.log"), "{error}");
}

fn contents_of(log: &Log) -> Vec<Vec<u8>> {
    fetch_all(log, log.start_offset())
}

#[test]
fn a_reader_of_what_was_replaced_is_told_of_its_aborted_transactions() {
    let mut world = World::new(1, config_of(0));
    for _ in 0..10 {
        world.append_keys(&[1, 2, 3]);
    }
    world.transact(0, &[4, 5]);
    world.end_transaction(0, false);
    for _ in 0..20 {
        world.append_keys(&[1, 2, 3]);
    }
    world.roll();
    let reader = world.log.reader();
    let slice = reader.read(25, 1 << 20, 100, true, Access::Blocking).unwrap().unwrap();
    let told = || reader.aborted_transactions(25, &slice, Access::Blocking).unwrap();
    let (before, bytes) = (told(), bytes_of(&slice));
    assert_eq!(before.len(), 1);
    for _ in 0..3 {
        world.advance(10_000);
        world.force_clean();
        assert_eq!((told(), bytes_of(&slice)), (before.clone(), bytes.clone()));
    }
}

#[test]
fn what_is_dirty_for_too_long_is_due() {
    let config = LogConfig { max_compaction_lag_ms: 60_000, ..config_of(0) };
    let mut world = World::new(1, config);
    for _ in 0..60 {
        world.append_keys(&[1, 2, 3, 4, 5, 6, 7, 8]);
    }
    world.roll();
    while world.clean(false) {}
    // Most of the log is clean: distinct keys that stay.
    for key in 0..100 {
        world.append_keys(&[key]);
    }
    world.roll();
    while world.clean(false) {}
    world.append_keys(&[1]);
    world.advance(50_000);
    assert!(!world.log.roll_if_needed(world.now).unwrap());
    world.advance(20_000);
    assert!(world.log.roll_if_needed(world.now).unwrap(), "the lag closes segments, too");
    world.flush();
    let work = world.log.clean_work(i64::MAX, world.now).unwrap();
    assert!(work.dirt().ratio() < 0.5 && work.is_due(world.now).unwrap());
    assert!(!work.is_due(world.now - 30_000).unwrap());
}

#[test]
fn records_without_a_key_go_with_the_first_cleaning() {
    let mut world = World::new(1, LogConfig { compact: false, ..config_of(0) });
    let mut builder = BatchBuilder::new(BatchOptions::default());
    builder.append(NOW, None, Some(b"no key"), &[]);
    let bytes = builder.finish();
    for _ in 0..30 {
        world.log.append_as_leader(&bytes, 1, Origin::Client, NOW).unwrap();
    }
    world.log.update_config(Arc::new(config_of(0)));
    let refused = world.log.append_as_leader(&bytes, 1, Origin::Client, NOW).unwrap_err();
    assert_eq!(refused.code(), base::ErrorCode::InvalidRecord);
    world.append_keys(&[1]);
    world.roll();
    world.append_keys(&[2]);
    world.clean(false);
    assert_eq!(world.committed().iter().map(|r| r.0).collect::<Vec<_>>(), [1, 2]);
}

#[test]
fn a_log_may_be_cleaned_and_deleted() {
    let config = LogConfig { delete: true, retention_bytes: 1500, ..config_of(0) };
    let mut world = World::new(1, config);
    for key in 0..100 {
        world.append_keys(&[key]);
    }
    world.roll();
    while world.clean(false) {}
    let end = world.log.end_offset();
    assert!(world.log.retention(world.now, end).unwrap() > 0);
    let start = world.log.start_offset();
    assert!(start > 0 && world.log.size() < 3000);
    world.append_keys(&[99]);
    world.roll();
    while world.clean(false) {}
    let keys: Vec<u8> = world.committed().iter().map(|r| r.0).collect();
    let expected: Vec<u8> = (start as u8..99).chain([99]).collect();
    assert_eq!(keys, expected);
}
