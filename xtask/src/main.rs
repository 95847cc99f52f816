//! `cargo x SUBCOMMAND`.

use std::path::PathBuf;

use anyhow::Result;
use clap::{Parser, Subcommand};
use xtask::{chart, check, ci, kind, run, schemas, tidy};

#[derive(Parser)]
#[command(name = "cargo x", about = "Everything that is done to this repository")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Format, lints, build, tests, simulation, fuzzing, real clients: what a change must pass.
    Ci(ci::Arguments),
    /// The short loop: tidy, format, lints and unit tests of the packages that differ from main.
    Check,
    /// The rules of the house: sizes, heads of files, dependency edges, root entries, documents.
    Tidy,
    /// Installs what the tests with real clients need (packages, jars, a Go binary, Python).
    Setup,
    /// Apache Kafka and Barnabas in turn under the official perf tools; prints a Markdown table.
    #[command(disable_help_flag = true)]
    Bench {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Failover as six clients see it with their default settings; prints a Markdown table.
    #[command(disable_help_flag = true)]
    Gaps {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// The simulator, e.g. `cargo x simulate run --seeds 0..10000`.
    #[command(disable_help_flag = true)]
    Simulate {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Bytes at every decoder, at SASL and at TLS, e.g. `cargo x fuzz --seconds 600`.
    #[command(disable_help_flag = true)]
    Fuzz {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// A Kubernetes cluster in containers, and the scenarios on it.
    #[command(subcommand)]
    Kind(kind::Action),
    /// The Helm chart, and manifests/install.yaml rendered from it; with `--check` only compared.
    Chart(chart::Arguments),
    /// Extracts the message schemas' facts from the jars of a Kafka release.
    Schemas { jars: PathBuf },
}

fn main() -> Result<()> {
    match Arguments::parse().command {
        Command::Ci(arguments) => ci::run(&arguments),
        Command::Check => check::run(),
        Command::Tidy => tidy::run(),
        Command::Setup => run::program("e2e", "setup", &[]),
        Command::Bench { arguments } => run::program("e2e", "bench", &arguments),
        Command::Gaps { arguments } => run::program("e2e", "gaps", &arguments),
        Command::Simulate { arguments } => run::program("sim", "sim", &arguments),
        Command::Fuzz { arguments } => run::program("e2e", "fuzz", &arguments),
        Command::Kind(action) => kind::run(&action),
        Command::Chart(arguments) => chart::run(&arguments),
        Command::Schemas { jars } => schemas::run(&jars),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn what_documents_say_of_this_tool_is_what_it_takes() {
        let told = chart::commands::told().unwrap();
        let own = told.iter().filter(|told| told.command.starts_with("cargo x "));
        let own: Vec<_> = own.collect();
        assert!(!own.is_empty());
        for chart::commands::Told { file, command } in own {
            let words = chart::commands::words(command);
            let parsed = Arguments::try_parse_from(&words[1..]);
            assert!(parsed.is_ok(), "{file}: {command}: {}", parsed.err().unwrap());
        }
    }
}
