//! Every operation of a cleaning fails once, and the process or the machine ends there: the log is
//! whole afterwards, and the next cleaning ends well.

use super::world::{World, config_of};
use crate::CleanError;
use crate::fs::{Faults, Fs};
use crate::tests::files;

fn dirty(seed: u64) -> World {
    let mut world = World::new(seed, config_of(seed));
    while world.log.end_offset() < 60 {
        world.step();
    }
    world.end_all();
    world.append_keys(&[1, 2, 3]);
    world.roll();
    world
}

/// How the failure ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum End {
    GoesOn,
    Kill,
    PowerLoss,
}

fn run(seed: u64, faults: Faults, end: End) -> bool {
    let mut world = dirty(seed);
    world.fs.set_faults(faults);
    let cleaned = world.try_clean(1 << 20);
    let failed = cleaned.is_err();
    world.fs.set_faults(Faults::default());
    match end {
        End::Kill => {
            world.fs.kill();
            world.reopen();
        }
        End::PowerLoss => {
            world.fs.crash(&mut (seed * 31 + 7));
            world.reopen();
        }
        End::GoesOn if world.log.is_torn() => {
            let found = world.log.reopen_work().unwrap().run(world.now).unwrap().unwrap();
            assert!(world.log.reopened(found));
            world.log.on_high_watermark(world.log.end_offset());
        }
        End::GoesOn => {}
    }
    world.check();
    if end != End::GoesOn {
        for left in [".cleaned", ".swap", ".deleted"] {
            assert!(files(&world.fs, left).is_empty(), "{left}");
        }
    }
    world.advance(10_000);
    world.append_keys(&[5]);
    world.roll();
    world.clean(false);
    world.check();
    failed
}

#[test]
fn a_failure_of_any_operation_leaves_a_whole_log() {
    for end in [End::GoesOn, End::Kill, End::PowerLoss] {
        for seed in 0..4 {
            let mut step = 0;
            while run(seed, Faults { fail_step: Some(step), ..Faults::default() }, end) {
                // Reads are many, and alike.
                step += 1 + step / 40;
            }
            assert!(step > 40, "the cleaning was over after {step} operations");
        }
    }
}

#[test]
fn a_failed_sync_or_a_full_disk_replaces_nothing() {
    for end in [End::GoesOn, End::Kill, End::PowerLoss] {
        for seed in 0..6 {
            let failed = run(seed, Faults { fail_syncs: 1, ..Faults::default() }, end);
            assert!(failed);
            for room in [0, 100, 700] {
                let world = dirty(seed);
                let capacity_bytes = Some(world.fs.used_bytes() + room);
                run(seed, Faults { capacity_bytes, ..Faults::default() }, end);
            }
        }
    }
}

#[test]
fn a_full_disk_is_told_apart_from_damage() {
    let mut world = dirty(3);
    let capacity_bytes = Some(world.fs.used_bytes());
    world.fs.set_faults(Faults { capacity_bytes, ..Faults::default() });
    let error = world.try_clean(1 << 20).unwrap_err();
    assert!(matches!(&error, CleanError::Log(error) if error.is_full()), "{error}");
    assert!(world.fs.list(&crate::tests::dir()).unwrap().iter().all(|n| !n.ends_with(".cleaned")));
}
