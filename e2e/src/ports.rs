//! Ports for brokers that are killed and started again: below the range the kernel hands out for
//! outgoing connections, so that nobody takes a port while its broker is down.

use std::net::TcpListener;
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context, Result};

const FIRST: u32 = 15_000;
const COUNT: u32 = 17_000;

/// How far from its listener's port `broker dev` puts the other ports of a broker: those of the
/// quorum and of HTTP.
const DEV_OFFSETS: [u16; 3] = [0, 100, 200];

/// A port that was free a moment ago; one process never hands out the same one twice.
pub fn free() -> Result<u16> {
    first(is_free)
}

/// The listener's port of a cluster of `broker dev`, all ports of which were free a moment ago.
pub fn free_for_dev(brokers: u16) -> Result<u16> {
    let offsets = DEV_OFFSETS.iter().flat_map(|offset| (0..brokers).map(move |n| offset + n));
    let offsets: Vec<u16> = offsets.collect();
    first(|port| offsets.iter().all(|offset| is_free(port + offset)))
}

fn first(fits: impl Fn(u16) -> bool) -> Result<u16> {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    // Processes start at different places, so that they seldom even try the same port.
    let start = std::process::id().wrapping_mul(97);
    for _ in 0..COUNT {
        let step = NEXT.fetch_add(1, Ordering::Relaxed);
        let port = FIRST + start.wrapping_add(step) % COUNT;
        let port = u16::try_from(port).context("ports end below 65536")?;
        if fits(port) {
            return Ok(port);
        }
    }
    anyhow::bail!("no free port in {FIRST}..{}", FIRST + COUNT)
}

fn is_free(port: u16) -> bool {
    TcpListener::bind(("127.0.0.1", port)).is_ok()
}
