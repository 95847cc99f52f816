//! The simulator's own gate: seeds pass, runs repeat exactly, and broken rules are caught.
#![allow(clippy::unwrap_used)]

use std::process::Command;

use sim::{Mutation, Options, Property, Report, run, tell_on_panic};

fn run_mutated(mutation: Mutation, seed: u64) -> Report {
    tell_on_panic();
    run(&Options { mutation, ..Options::seed(seed) })
}

/// The first violation within so many seeds.
fn caught(mutation: Mutation, seeds: u64) -> (u64, Property) {
    (0..seeds)
        .find_map(|seed| Some((seed, run_mutated(mutation, seed).violation?.property)))
        .unwrap_or_else(|| panic!("{} is not caught within {seeds} seeds", mutation.name()))
}

#[test]
fn seeds_pass() {
    tell_on_panic();
    for seed in 0..200 {
        let options = Options::seed(seed);
        let report = run(&options);
        if let Some(violation) = report.violation {
            panic!("{violation:?}\nreplay: {}", options.replay_command());
        }
        assert!(report.steps > 1_000, "seed {seed} did nothing: {report:?}");
    }
}

#[test]
fn a_seed_has_one_trace() {
    tell_on_panic();
    for seed in 0..15 {
        assert_eq!(run(&Options::seed(seed)), run(&Options::seed(seed)));
    }
    assert_ne!(run(&Options::seed(1)).trace_hash, run(&Options::seed(2)).trace_hash);
}

#[test]
fn a_high_watermark_one_too_far_is_caught() {
    let (seed, property) = caught(Mutation::HighWatermark, 20);
    assert_eq!(property, Property::InSync, "seed {seed}");
}

#[test]
fn an_isr_change_without_compare_and_set_is_caught() {
    // By what it does, not by looking at the controller: see `World::check_accepted`.
    let (seed, property) = caught(Mutation::IsrWithoutCompareAndSet, 2_000);
    let consequences = [Property::InSync, Property::AckedSurvives, Property::HighWatermarkContent];
    assert!(consequences.contains(&property), "seed {seed}: {property:?}");
}

#[test]
fn an_acknowledgement_before_the_commit_is_caught() {
    let (seed, property) = caught(Mutation::EarlyAck, 20);
    assert_eq!(property, Property::AckedSurvives, "seed {seed}");
}

#[test]
fn a_follower_that_does_not_truncate_is_caught() {
    let (seed, property) = caught(Mutation::NoTruncation, 200);
    assert!(
        matches!(property, Property::LogMatching | Property::InSync),
        "seed {seed}: {property:?}"
    );
}

#[test]
fn a_follower_that_forgets_producers_is_caught() {
    let (seed, property) = caught(Mutation::ForgottenProducers, 200);
    assert_eq!(property, Property::Sequence, "seed {seed}");
}

#[test]
fn a_failed_assertion_names_its_seed() {
    let sim = env!("CARGO_BIN_EXE_sim");
    let run = ["run", "--seeds", "7..8", "--mutation", "assertion"];
    let ended = Command::new(sim).args(run).output().unwrap();
    let told = String::from_utf8_lossy(&ended.stderr);
    assert!(!ended.status.success(), "{told}");
    let options = Options { mutation: Mutation::Assertion, ..Options::seed(7) };
    let line = format!("replay: {}", options.replay_command());
    assert!(told.lines().any(|told| told == line), "{told}");
}
