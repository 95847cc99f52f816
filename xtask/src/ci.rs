//! What a change must pass, cheapest first. Every step is a plain command that can be run alone.

use anyhow::Result;
use clap::Args;

use crate::run::{cargo, step};
use crate::{chart, kind, tidy};

#[derive(Args, Debug)]
pub struct Arguments {
    /// Seeds of the simulator.
    #[arg(long, default_value_t = 10_000)]
    seeds: u64,
    /// Seconds of fuzzing.
    #[arg(long, default_value_t = 60)]
    fuzz_seconds: u64,
    /// Leave out the tests with real processes and clients.
    #[arg(long)]
    no_e2e: bool,
    /// Leave out the scenarios on Kubernetes.
    #[arg(long)]
    no_kind: bool,
}

pub fn run(arguments: &Arguments) -> Result<()> {
    tidy::run()?;
    step("format", cargo().args(["fmt", "--all", "--check"]))?;
    chart::run(&chart::Arguments { check: true })?;
    let mut clippy = cargo();
    clippy.args(["clippy", "--quiet", "--workspace", "--all-targets", "--", "-D", "warnings"]);
    step("lints", &mut clippy)?;
    // Exactly as the tests ask for it, so that they find it built.
    let mut broker = cargo();
    broker.args(["build", "--quiet", "--release", "--package", "broker", "--bin", "broker"]);
    step("the broker", &mut broker)?;
    let release = |package: &str, name: &str| {
        let mut command = cargo();
        command.args(["run", "--quiet", "--release", "--package", package, "--bin", name, "--"]);
        command
    };
    let seeds = format!("0..{}", arguments.seeds);
    step("simulation", release("sim", "sim").args(["run", "--seeds", &seeds]))?;
    let seconds = arguments.fuzz_seconds.to_string();
    step("fuzzing", release("e2e", "fuzz").args(["--seconds", &seconds]))?;
    if !arguments.no_e2e {
        step("clients", &mut release("e2e", "setup"))?;
    }
    // One run for everything that cargo calls a test, so that one closing line counts them all.
    let mut test = cargo();
    test.args(["test", "--quiet", "--workspace", "--no-fail-fast"]);
    if arguments.no_e2e {
        test.args(["--exclude", "e2e"]);
    }
    step("tests", &mut test)?;
    if arguments.no_kind { Ok(()) } else { kind::core_set() }
}
