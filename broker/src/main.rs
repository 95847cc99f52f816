//! The `broker` binary: parses the command line, the library does the rest.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use config::ConfigError;
use dev::EXIT_CONFIG;
use rustix::process::Signal;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Barnabas, a broker that Kafka clients believe.
#[derive(Parser)]
#[command(version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run one broker.
    Run {
        /// Kafka's server.properties. May be repeated: a later file wins.
        #[arg(long, required = true, value_name = "FILE")]
        config: Vec<PathBuf>,
        /// A file with broker.rack and advertised.listeners that may appear and change while the
        /// broker runs.
        #[arg(long, value_name = "FILE")]
        pod_config: Option<PathBuf>,
        /// Overrides a key of the file: key=value. May be repeated.
        #[arg(long = "override", value_name = "KEY=VALUE")]
        overrides: Vec<String>,
        /// Stop as on SIGTERM when the process that started this one ends.
        #[arg(long, hide = true)]
        exit_with_parent: bool,
    },
    /// Run a cluster on this machine.
    Dev(dev::DevArgs),
    /// Produce to a cluster and consume again: does it work from here?
    Check(dev::check::CheckArgs),
}

fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Run { config, pod_config, overrides, exit_with_parent } => {
            if exit_with_parent {
                end_with_parent();
            }
            broker::boot::run(&config, pod_config.as_deref(), &overrides)
        }
        Command::Dev(args) => broker::boot::run_dev(args),
        Command::Check(args) => dev::check::run(args),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("broker: {error:#}");
            match error.is::<ConfigError>() {
                true => ExitCode::from(EXIT_CONFIG),
                false => ExitCode::FAILURE,
            }
        }
    }
}

fn end_with_parent() {
    // Where the kernel cannot tell, the brokers of a killed supervisor stay; nothing is lost.
    if let Err(error) = rustix::process::set_parent_process_death_signal(Some(Signal::TERM)) {
        eprintln!("broker: cannot watch the parent process: {error}");
    }
}
