//! Cuts of a follower's log that fail at any of their steps, by the driver that the broker runs.

use commitlog::Access;
use replica::EpochEnd;

use super::*;

/// Five batches, of which two are committed.
fn follower() -> Rig {
    let rig = Rig::new(i64::MAX);
    rig.assign_in(OTHER, 2, &[ME, OTHER]);
    for offset in 0..5 {
        let records = replicated(offset, if offset < 3 { 1 } else { 2 });
        let (_, progress) = rig.fetched_up_to(2, &records, 2);
        assert!(matches!(progress, FollowerProgress::Continue { .. }), "{progress:?}");
    }
    rig.assign_in(OTHER, 3, &[ME, OTHER]);
    rig.orders();
    rig
}

/// The next leader lacks the batches of epoch 2, or has deleted all that is here.
fn answers(rig: &Rig) -> [FetchAnswer; 2] {
    let (answer, _) = rig.fetched(1, &[]);
    let answer = FetchAnswer { leader_epoch: 3, ..answer };
    let diverging = Some(EpochEnd { epoch: 1, end_offset: 3 });
    let (error, log_start) = (ErrorCode::OffsetOutOfRange, 9);
    [FetchAnswer { diverging, ..answer }, FetchAnswer { error, log_start, ..answer }]
}

/// Tears the log by a cut that fails at this step; `None` if the cut has no such step.
fn torn(which: usize, step: u32) -> Option<(Rig, bool)> {
    let rig = follower();
    let answer = answers(&rig)[which];
    rig.fs.set_faults(Faults { fail_step: Some(step), ..Faults::default() });
    let progress = rig.partition.cut(&answer);
    if rig.fs.faults().fail_step.is_some() {
        assert!(matches!(progress, FollowerProgress::Continue { .. }), "{progress:?}");
        return None;
    }
    rig.agree();
    let is_offline = rig.partition.look(State::is_offline);
    // What fails for the index of a segment is made up for elsewhere.
    if is_offline {
        let is_pause = FollowerProgress::Pause(ErrorCode::KafkaStorageError);
        assert_eq!(progress, is_pause);
        assert_eq!(rig.orders(), [false]);
    }
    Some((rig, is_offline))
}

/// Epoch and offsets of the batches that a reader is shown.
fn batches(rig: &Rig) -> Vec<(i32, Offset, Offset)> {
    let reader = rig.partition.reader();
    let (mut at, end) = (reader.start_offset(), reader.end_offset());
    let mut found = Vec::new();
    while let Some(slice) = reader.read(at, 1 << 20, end, true, Access::Blocking).unwrap() {
        let mut bytes = vec![0; slice.len];
        assert_eq!(slice.file.read_at(&mut bytes, slice.position).unwrap(), slice.len);
        for batch in record::batches(&bytes) {
            let header = batch.unwrap().header;
            found.push((header.leader_epoch, header.base_offset, header.next_offset()));
            at = header.next_offset();
        }
    }
    assert_eq!(at, end);
    found
}

/// A log that goes on without a hole, from what the old leader wrote to what this one does.
fn assert_continuous(rig: &Rig) {
    let found = batches(rig);
    for pair in found.windows(2) {
        assert!(pair[0].2 == pair[1].1 && pair[0].0 <= pair[1].0, "{found:?}");
    }
}

/// The core went on with the log's end of before: what it appended as leader lay behind a tail
/// that was never cut, and was lost at the next start.
#[test]
fn a_cut_that_fails_at_any_step_is_not_carried_on_with() {
    for which in [0, 1] {
        let mut torn_at = 0;
        for step in 0.. {
            let Some((rig, is_offline)) = torn(which, step) else { break };
            // It is elected before anybody has opened the log again.
            rig.assign_in(ME, 4, &[ME, OTHER]);
            if is_offline {
                torn_at += 1;
                assert!(!rig.partition.leads());
                let refused = rig.partition.append(&batch(), 1, None).unwrap_err();
                assert_eq!(refused.code, ErrorCode::NotLeaderOrFollower);
                let (_, progress) = rig.fetched(3, &replicated(3, 3));
                assert_eq!(progress, FollowerProgress::Pause(ErrorCode::KafkaStorageError));
                rig.partition.sync().unwrap();
            }
            assert!(rig.partition.leads(), "cut {which}, step {step}");
            rig.agree();
            let before = rig.partition.offsets().log_end;
            rig.partition.append(&batch(), 1, None).unwrap();
            rig.agree();
            assert_eq!(batches(&rig).last(), Some(&(4, before, before + 1)));
            assert_continuous(&rig);
            let reopened = open(&rig.fs, i64::MAX);
            assert_eq!(reopened.end_offset(), before + 1, "cut {which}, step {step}");
        }
        assert!(torn_at > 3, "cut {which}: {torn_at}");
    }
}

#[test]
fn a_torn_log_follows_again_once_it_was_opened() {
    let (rig, is_offline) = torn(0, 1).unwrap();
    assert!(is_offline);
    // The disk fails once more; the thread that flushes tries again.
    rig.fs.set_faults(Faults { fail_step: Some(0), ..Faults::default() });
    assert_eq!(rig.partition.sync(), Err(ErrorCode::KafkaStorageError));
    rig.partitions.flush_due();
    assert_eq!(rig.orders(), [true]);
    let [answer, _] = answers(&rig);
    let progress = rig.partition.cut(&answer);
    assert!(matches!(progress, FollowerProgress::Continue { .. }), "{progress:?}");
    assert_eq!(rig.partition.offsets().log_end, 3);
}

#[test]
fn a_torn_log_is_handed_to_those_who_wait_for_disks() {
    let (rig, _) = torn(0, 1).unwrap();
    let outbox = rig.partitions.outbox().clone();
    let syncing = thread::spawn(move || outbox.syncs.run());
    assert_eq!(rig.orders(), [true]);
    rig.partitions.outbox().syncs.close();
    syncing.join().unwrap();
    assert!(!rig.partition.look(State::is_offline));
}

#[test]
fn a_log_that_lost_committed_records_stays_away_until_it_is_out_of_the_isr() {
    let (rig, _) = torn(0, 1).unwrap();
    let path = dir().join("00000000000000000000.log");
    rig.fs.put(&path, &rig.fs.contents(&path).unwrap()[..100]).unwrap();
    rig.partition.sync().unwrap();
    assert!(rig.partition.look(State::is_offline), "of two committed batches it has one");
    rig.assign_in(ME, 4, &[ME, OTHER]);
    assert!(!rig.partition.leads());
    rig.assign_in(OTHER, 5, &[OTHER]);
    assert_eq!(rig.orders(), [true]);
    assert_eq!(rig.partition.follower_position().offset, 1);
}

#[test]
fn a_torn_log_that_is_moved_away_is_not_opened_again() {
    let (rig, _) = torn(0, 1).unwrap();
    rig.partition.with(|state| {
        state.is_removed = true;
        state.mutate_log(Log::abandon);
    });
    rig.fs.rename(&dir(), &dir().with_file_name("t-0.gone-delete")).unwrap();
    rig.partition.sync().unwrap();
    assert!(!rig.fs.exists(&dir()));
}
