//! The log of the process: what is written, and how that is told to others. Levels are set by the
//! environment, before the start.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

const LEVELS: &str = "BARNABAS_LOG";
const DEFAULT: &str = "info,openraft=error";

/// Starts logging to stderr, as text or, where it is asked for, as JSON.
pub fn start() {
    let filter = EnvFilter::try_from_env(LEVELS).unwrap_or_else(|_| EnvFilter::new(DEFAULT));
    let json = std::env::var("BARNABAS_LOG_FORMAT").is_ok_and(|format| format == "json");
    let ansi = std::io::stderr().is_terminal();
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(ansi);
    // In tests several brokers of one process share the first one's subscriber.
    let _ = if json { builder.json().try_init() } else { builder.try_init() };
}

/// The loggers that have a level of their own, with Kafka's name for the one above all.
pub fn levels() -> Vec<(String, String)> {
    let filter = EnvFilter::try_from_env(LEVELS).unwrap_or_else(|_| EnvFilter::new(DEFAULT));
    parse(&filter.to_string())
}

/// The words of a filter (`info,openraft=error`) as names and levels.
fn parse(filter: &str) -> Vec<(String, String)> {
    let words = filter.split(',').map(str::trim).filter(|word| !word.is_empty());
    let mut levels: Vec<(String, String)> = words
        .map(|word| match word.rsplit_once('=') {
            Some((name, level)) => (name.to_owned(), level.to_uppercase()),
            None => ("root".to_owned(), word.to_uppercase()),
        })
        .collect();
    if !levels.iter().any(|(name, _)| name == "root") {
        // A filter that names targets only is silent about everything else.
        levels.push(("root".to_owned(), "OFF".to_owned()));
    }
    levels.sort();
    levels
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_names_loggers_and_levels() {
        let told = |filter: &str| {
            let levels = parse(filter).into_iter();
            levels.map(|(name, level)| format!("{name}={level}")).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(told(DEFAULT), "openraft=ERROR root=INFO");
        assert_eq!(told("broker::net=debug"), "broker::net=DEBUG root=OFF");
        assert_eq!(told("warn"), "root=WARN");
    }
}
