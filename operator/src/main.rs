//! The `operator` binary: parses the command line, the library does the rest.

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use operator::process;
use operator::runtime::Settings;

/// Runs Barnabas on Kubernetes.
#[derive(Parser)]
#[command(version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the controllers.
    Run(Box<Settings>),
    /// Print the custom resource definitions as YAML.
    Crds,
}

fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Run(settings) => process::run(*settings),
        Command::Crds => process::print_crds(),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("operator: {error:#}");
            ExitCode::FAILURE
        }
    }
}
