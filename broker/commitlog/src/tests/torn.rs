//! Cuts that fail at any of their steps: what is left is unchanged or torn, and a torn log takes
//! nothing until it was opened again.

use super::*;
use crate::LogError;
use crate::fs::Faults;

/// A log of several segments, with a producer, partly flushed.
fn filled(fs: &MemFs, flushed: bool) -> Log {
    let mut log = open(fs);
    for i in 0..20 {
        append_at(&mut log, 3, i / 10, NOW);
    }
    if flushed {
        flush(&mut log);
    }
    for i in 20..40 {
        append_at(&mut log, 3, i / 10, NOW);
    }
    log
}

/// Lets each step of `cut` fail in turn; returns how many there were.
fn at_every_step(flushed: bool, cut: impl Fn(&mut Log) -> Result<(), LogError>) -> u32 {
    let mut torn = 0;
    for step in 0.. {
        let fs = mem_fs();
        let mut log = filled(&fs, flushed);
        let before = (log.start_offset(), log.end_offset());
        fs.set_faults(Faults { fail_step: Some(step), ..Faults::default() });
        let result = cut(&mut log);
        if fs.faults().fail_step.is_some() {
            result.unwrap();
            assert!(!log.is_torn());
            return torn;
        }
        assert_eq!(result.is_err(), log.is_torn() || log.end_offset() == before.1, "step {step}");
        if log.is_torn() {
            torn += 1;
            takes_nothing(&mut log);
            comes_back(&fs, &mut log, step);
        }
    }
    torn
}

fn takes_nothing(log: &mut Log) {
    let (start, end) = (log.start_offset(), log.end_offset());
    let bytes = batch(end, 1);
    assert!(log.append_as_leader(&bytes, 9, Origin::Client, NOW).is_err());
    assert!(log.append_as_follower(&bytes, NOW).is_err());
    assert!(log.truncate_to(start).is_err());
    assert!(log.truncate_fully_and_start_at(end, NOW).is_err());
    assert!(log.retention(NOW, end).is_err() && log.roll_if_needed(i64::MAX).is_err());
    assert!(log.delete_records(end, end).is_err() && log.close().is_err());
    assert!(log.flush_work().is_none() && log.sync_work().is_none());
    assert!(!log.must_sync() && !log.flush_due(i64::MAX));
    assert_eq!((log.start_offset(), log.end_offset()), (start, end));
}

fn comes_back(fs: &MemFs, log: &mut Log, step: u32) {
    let reader = log.reader();
    // Another failure on the way leaves it as it was.
    fs.set_faults(Faults { fail_step: Some(0), ..Faults::default() });
    assert!(log.reopen_work().unwrap().run(NOW).is_err());
    assert!(log.is_torn());
    let found = log.reopen_work().unwrap().run(NOW).unwrap().unwrap();
    assert!(log.reopened(found), "step {step}");
    log.validate();
    let (start, end) = (log.start_offset(), log.end_offset());
    assert_eq!((reader.start_offset(), reader.end_offset()), (start, end), "step {step}");
    assert_eq!(contents(log, start), expected(start, end), "step {step}");
    append_at(log, 3, 9, NOW);
    assert_eq!(contents(log, start), expected(start, end + 3), "step {step}");
    let state = LoadState { log_start: start, ..LoadState::default() };
    let (log, report) = open_with(fs, config(), state);
    assert_eq!(report.bytes_truncated, 0, "step {step}: {report:?}");
    assert_eq!(contents(&log, start), expected(start, end + 3), "step {step}");
}

#[test]
fn a_truncation_that_fails_at_any_step_is_not_carried_on_with() {
    for flushed in [false, true] {
        for to in [100, 61, 31, 3] {
            let steps = at_every_step(flushed, |log| log.truncate_to(to).map(|_| ()));
            assert!(steps > 5, "to {to}: {steps}");
        }
    }
}

#[test]
fn a_restart_that_fails_at_any_step_is_not_carried_on_with() {
    for at in [0, 50, 500] {
        let restart = |log: &mut Log| log.truncate_fully_and_start_at(at, NOW).map(|_| ());
        assert!(at_every_step(true, restart) > 5);
    }
}

#[test]
fn a_log_that_was_abandoned_is_not_opened_again() {
    let fs = mem_fs();
    let mut log = filled(&fs, true);
    fs.set_faults(Faults { fail_step: Some(1), ..Faults::default() });
    while log.truncate_to(30).is_err() && !log.is_torn() {
        fs.set_faults(Faults { fail_step: Some(2), ..Faults::default() });
    }
    let (before, later) = (log.reopen_work().unwrap(), log.reopen_work().unwrap());
    assert!(before.run(NOW).unwrap().is_none());
    let found = later.run(NOW).unwrap().unwrap();
    log.abandon();
    assert!(!log.reopened(found) && log.is_torn());
}
