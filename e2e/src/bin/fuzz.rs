//! `fuzz [--seconds N] [--seed N]`: from the given seed on until the time is up; with a seed and no
//! time, that seed alone.

use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use e2e::fuzz::{Counts, SEED, limit_memory, run, run_seed};

fn main() -> Result<()> {
    let (mut seconds, mut seed) = (None, None);
    let mut arguments = std::env::args().skip(1);
    while let Some(name) = arguments.next() {
        let value = arguments.next().context("an option without its value")?.parse()?;
        match name.as_str() {
            "--seconds" => seconds = Some(value),
            "--seed" => seed = Some(value),
            other => bail!("no such option: {other}"),
        }
    }
    limit_memory()?;
    // The release profile aborts on a panic: the hook is the last to know the seed.
    let report = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        report(panic);
        eprintln!("repeat with `cargo x fuzz --seed {}`", SEED.load(Ordering::Relaxed));
    }));
    let counts = match (seconds, seed) {
        (None, Some(seed)) => {
            let mut counts = Counts::default();
            run_seed(seed, &mut counts)?;
            counts
        }
        (seconds, seed) => {
            let clock = std::time::UNIX_EPOCH.elapsed()?.as_secs();
            run(seed.unwrap_or(clock << 20), Duration::from_secs(seconds.unwrap_or(60)))?
        }
    };
    println!("{} cases, {} accepted, nothing found", counts.cases, counts.accepted);
    Ok(())
}
