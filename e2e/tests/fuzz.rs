//! A short run of the fuzzer with fixed seeds; `cargo x fuzz` runs for longer, with others.

use e2e::fuzz::{Counts, limit_memory, run_seed};

#[test]
fn decoders_and_validator_survive_fixed_seeds() {
    limit_memory().unwrap();
    let mut counts = Counts::default();
    for seed in 0..200 {
        run_seed(seed, &mut counts).unwrap();
    }
    println!("{counts:?}");
    assert!(counts.accepted > counts.cases / 20, "the inputs reach beyond the first check");
}
