//! A configuration for tests of this room and of those above.
#![allow(clippy::unwrap_used, reason = "for tests")]

use std::path::Path;

use crate::{Config, parse_properties};

/// What a broker needs that listens wherever there is room.
pub fn on_free_ports(logs: &Path) -> Config {
    let text = format!(
        "node.id=1\n\
        listeners=PLAINTEXT://127.0.0.1:0,CONTROLLER://127.0.0.1:0\n\
        advertised.listeners=PLAINTEXT://127.0.0.1:0\n\
        controller.listener.names=CONTROLLER\n\
        log.dirs={}\n",
        logs.display()
    );
    Config::from_properties(parse_properties(&text).unwrap()).unwrap()
}
