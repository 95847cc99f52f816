//! The benchmark: Apache Kafka and Barnabas under the same official tools, in turn, in one run on
//! one machine. Only figures of the same run are compared; what a shared machine adds to both is
//! in both.

mod failover;
mod measure;
mod report;

use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::config::Target;

pub use report::Figures;

/// How much is measured.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Turns of each target; the median of the turns is reported.
    pub turns: usize,
    /// Payload of one produce run.
    pub bytes: u64,
    /// Records of one end-to-end latency run.
    pub round_trips: u64,
    /// Leaders killed in each turn.
    pub kills: usize,
    pub brokers: Vec<usize>,
    pub targets: Vec<Target>,
}

impl Default for Plan {
    fn default() -> Plan {
        Plan {
            turns: 3,
            bytes: 500_000_000,
            round_trips: 5_000,
            kills: 3,
            brokers: vec![1, 3],
            targets: vec![Target::Apache, Target::Barnabas],
        }
    }
}

impl Plan {
    /// `--turns N --megabytes N --round-trips N --kills N --brokers 1,3 --target barnabas`.
    pub fn from_arguments(mut arguments: impl Iterator<Item = String>) -> Result<Plan> {
        let mut plan = Plan::default();
        while let Some(name) = arguments.next() {
            let value = arguments.next().with_context(|| format!("{name} needs a value"))?;
            match name.as_str() {
                "--turns" => plan.turns = value.parse()?,
                "--megabytes" => plan.bytes = value.parse::<u64>()? * 1_000_000,
                "--round-trips" => plan.round_trips = value.parse()?,
                "--kills" => plan.kills = value.parse()?,
                "--brokers" => {
                    let counts = value.split(',').map(str::parse);
                    plan.brokers = counts.collect::<Result<_, _>>()?;
                }
                "--target" => plan.targets = vec![target(&value)?],
                other => bail!("no such option: {other}"),
            }
        }
        Ok(plan)
    }
}

fn target(name: &str) -> Result<Target> {
    match name {
        "apache" => Ok(Target::Apache),
        "barnabas" => Ok(Target::Barnabas),
        other => bail!("no such target: {other}"),
    }
}

/// Runs the plan and prints the table.
pub fn run(plan: &Plan) -> Result<()> {
    let mut figures = Figures::default();
    for turn in 1..=plan.turns {
        for brokers in &plan.brokers {
            for target in &plan.targets {
                eprintln!("turn {turn} of {}: {target:?}, {brokers} brokers", plan.turns);
                measure::run(plan, *target, *brokers, &mut figures)?;
                // Lets the kernel write back what the last turn left, for the next one's sake.
                std::thread::sleep(Duration::from_secs(3));
            }
        }
    }
    print!("{}", report::table(&figures));
    Ok(())
}
