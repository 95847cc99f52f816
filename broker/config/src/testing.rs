//! A configuration for tests of this room and of those above.
#![allow(clippy::unwrap_used, reason = "for tests")]

use std::path::Path;

use crate::Config;

/// What a broker needs that listens wherever there is room.
pub fn on_free_ports(logs: &Path) -> Config {
    on_free_ports_with(logs, &[])
}

/// The same with more keys, or other values.
pub fn on_free_ports_with(logs: &Path, more: &[(&str, &str)]) -> Config {
    let logs = logs.display().to_string();
    let properties = [
        ("node.id", "1"),
        ("listeners", "PLAINTEXT://127.0.0.1:0,CONTROLLER://127.0.0.1:0"),
        ("advertised.listeners", "PLAINTEXT://127.0.0.1:0"),
        ("controller.listener.names", "CONTROLLER"),
        ("log.dirs", &logs),
    ];
    let all = properties.iter().chain(more);
    let all = all.map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
    Config::from_properties(all.collect()).unwrap()
}
