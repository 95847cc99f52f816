//! The benchmark: Barnabas and a peer under the same official tools, in turn, in one run on one
//! machine. The peer is Apache Kafka, or another build of Barnabas. Only figures of the same run
//! are compared; what a shared machine adds to both is in both.

mod failover;
mod measure;
mod report;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::config::Target;
use crate::{ClusterConfig, setup};

pub use report::Figures;

/// Whose brokers are measured.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Contender {
    Apache,
    /// The binary of another commit.
    Before(PathBuf),
    Barnabas,
}

impl Contender {
    fn is_peer(&self) -> bool {
        *self != Contender::Barnabas
    }

    fn name(&self) -> &'static str {
        match self {
            Contender::Apache => "Apache Kafka 4.4.0",
            Contender::Before(_) => "Barnabas before",
            Contender::Barnabas => "Barnabas",
        }
    }

    /// Builds or installs what its brokers need, so that no start is measured with that in it.
    fn prepare(&self) -> Result<()> {
        match self {
            Contender::Apache => setup::java().map(drop),
            Contender::Before(_) => Ok(()),
            Contender::Barnabas => setup::broker().map(drop),
        }
    }

    fn cluster(&self, brokers: usize) -> ClusterConfig {
        let (target, binary) = match self {
            Contender::Apache => (Target::Apache, None),
            Contender::Before(binary) => (Target::Barnabas, Some(binary.clone())),
            Contender::Barnabas => (Target::Barnabas, None),
        };
        ClusterConfig { target, binary, ..ClusterConfig::new(brokers) }
    }
}

/// How much is measured.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Turns of each contender; the median of the turns is reported.
    pub turns: usize,
    /// Payload of one produce run.
    pub bytes: u64,
    /// Records of one end-to-end latency run.
    pub round_trips: u64,
    /// Leaders killed in each turn.
    pub kills: usize,
    pub brokers: Vec<usize>,
    pub contenders: Vec<Contender>,
}

impl Default for Plan {
    fn default() -> Plan {
        Plan {
            turns: 3,
            bytes: 500_000_000,
            round_trips: 5_000,
            kills: 3,
            brokers: vec![1, 3],
            contenders: vec![Contender::Apache, Contender::Barnabas],
        }
    }
}

impl Plan {
    /// `--turns N --megabytes N --round-trips N --kills N --brokers 1,3`, and who is measured:
    /// `--target apache|barnabas` alone, or `--before BINARY` as the peer. `BARNABAS_BROKER_LACKS`
    /// names the keys that an old binary does not know.
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
                "--target" => plan.contenders = vec![contender(&value)?],
                "--before" => {
                    plan.contenders = vec![Contender::Before(value.into()), Contender::Barnabas];
                }
                other => bail!("no such option: {other}"),
            }
        }
        Ok(plan)
    }
}

fn contender(name: &str) -> Result<Contender> {
    match name {
        "apache" => Ok(Contender::Apache),
        "barnabas" => Ok(Contender::Barnabas),
        other => bail!("no such target: {other}"),
    }
}

/// Runs the plan and prints the table.
pub fn run(plan: &Plan) -> Result<()> {
    let mut figures = Figures::default();
    plan.contenders.iter().try_for_each(Contender::prepare)?;
    for turn in 1..=plan.turns {
        for brokers in &plan.brokers {
            for contender in &plan.contenders {
                let name = contender.name();
                eprintln!("turn {turn} of {}: {name}, {brokers} brokers", plan.turns);
                measure::run(plan, contender, *brokers, &mut figures)?;
                // Lets the kernel write back what the last turn left, for the next one's sake.
                std::thread::sleep(Duration::from_secs(3));
            }
        }
    }
    let peer = plan.contenders.iter().find(|contender| contender.is_peer());
    print!("{}", report::table(&figures, peer.unwrap_or(&Contender::Apache)));
    Ok(())
}
