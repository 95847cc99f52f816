//! Ports for brokers that are killed and started again: below the range the kernel hands out for
//! outgoing connections, so that nobody takes a port while its broker is down.

use std::net::TcpListener;
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context, Result};

const FIRST: u32 = 15_000;
const COUNT: u32 = 17_000;

/// A port that was free a moment ago; one process never hands out the same one twice.
pub fn free() -> Result<u16> {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    // Processes start at different places, so that they seldom even try the same port.
    let start = std::process::id().wrapping_mul(97);
    for _ in 0..COUNT {
        let step = NEXT.fetch_add(1, Ordering::Relaxed);
        let port = FIRST + start.wrapping_add(step) % COUNT;
        let port = u16::try_from(port).context("ports end below 65536")?;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return Ok(port);
        }
    }
    anyhow::bail!("no free port in {FIRST}..{}", FIRST + COUNT)
}
