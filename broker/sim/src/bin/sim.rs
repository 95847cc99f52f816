//! `sim --seed N`, `sim run --seeds A..B`, `sim meta --seeds A..B`.

use std::ops::Range;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

use anyhow::{Context, bail};
use clap::{Parser, Subcommand};
use sim::{Mutation, Options, Report, run};

#[derive(Parser)]
#[command(about = "Runs the cores through seeded, deterministic worlds of faults")]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    /// Run this one seed.
    #[arg(long)]
    seed: Option<u64>,
    /// Break a rule on purpose.
    #[arg(long, default_value = "none", value_parser = mutation, global = true)]
    mutation: Mutation,
    /// Print every event.
    #[arg(long)]
    trace: bool,
}

#[derive(Subcommand)]
enum Command {
    /// Run a range of seeds; stops at the first violation.
    Run {
        #[arg(long, value_parser = seeds)]
        seeds: Range<u64>,
        #[arg(long, default_value_t = 2)]
        threads: u64,
    },
    /// Run each seed twice: both runs must have the same trace.
    Meta {
        #[arg(long, value_parser = seeds)]
        seeds: Range<u64>,
    },
}

fn mutation(text: &str) -> anyhow::Result<Mutation> {
    let names: Vec<&str> = Mutation::ALL.iter().map(|&(name, _)| name).collect();
    Mutation::from_name(text).with_context(|| format!("one of {}", names.join(", ")))
}

fn seeds(text: &str) -> anyhow::Result<Range<u64>> {
    let (from, to) = text.split_once("..").context("a range of seeds is A..B")?;
    let range = from.parse()?..to.parse()?;
    if range.is_empty() {
        bail!("the range {text} is empty");
    }
    Ok(range)
}

fn main() -> anyhow::Result<ExitCode> {
    let arguments = Arguments::parse();
    sim::tell_on_panic();
    let passed = match (&arguments.command, arguments.seed) {
        (Some(Command::Run { seeds, threads }), _) => {
            run_seeds(&arguments, seeds.clone(), *threads)
        }
        (Some(Command::Meta { seeds }), _) => run_twice(&arguments, seeds.clone()),
        (None, Some(seed)) => {
            let report = run(&options(&arguments, seed));
            tell(&arguments, &report);
            println!("{report:?}");
            report.violation.is_none()
        }
        (None, None) => bail!("give --seed N, `run --seeds A..B` or `meta --seeds A..B`"),
    };
    Ok(if passed { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn options(arguments: &Arguments, seed: u64) -> Options {
    Options { seed, mutation: arguments.mutation, trace: arguments.trace }
}

/// What was violated, and the line that runs it again.
fn tell(arguments: &Arguments, report: &Report) {
    if let Some(violation) = &report.violation {
        println!("seed {}: {:?} violated: {}", report.seed, violation.property, violation.detail);
        println!("replay: {}", options(arguments, report.seed).replay_command());
    }
}

fn run_seeds(arguments: &Arguments, seeds: Range<u64>, threads: u64) -> bool {
    let started = Instant::now();
    let (count, next) = (seeds.end - seeds.start, AtomicU64::new(seeds.start));
    let (failed, steps) = (AtomicBool::new(false), AtomicU64::new(0));
    std::thread::scope(|scope| {
        for _ in 0..threads.max(1) {
            scope.spawn(|| {
                while !failed.load(Ordering::Relaxed) {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds.end {
                        break;
                    }
                    let report = run(&options(arguments, seed));
                    steps.fetch_add(report.steps, Ordering::Relaxed);
                    if report.violation.is_some() {
                        failed.store(true, Ordering::Relaxed);
                        tell(arguments, &report);
                    }
                }
            });
        }
    });
    let seconds = started.elapsed().as_secs_f64();
    let steps = steps.into_inner();
    println!(
        "{count} seeds, {steps} steps in {seconds:.1} s: {:.0} seeds/s",
        count as f64 / seconds
    );
    !failed.into_inner()
}

fn run_twice(arguments: &Arguments, seeds: Range<u64>) -> bool {
    for seed in seeds {
        let options = options(arguments, seed);
        let (first, second) = (run(&options), run(&options));
        if first != second {
            println!("seed {seed} is not deterministic: {first:?} and {second:?}");
            return false;
        }
    }
    true
}
