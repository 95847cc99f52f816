//! Whom a test of failover strikes: a leader that every broker agrees on.

use std::time::Duration;

use anyhow::{Context, Result};

use crate::admin::Admin;
use crate::wait;

/// Every broker leads its share again; the victim is the active controller, or a leader that is
/// not. Returns the victim and the active controller, which still are that after a quiet moment.
pub fn choose(admin: &Admin, topic: &str, controller_too: bool) -> Result<(usize, usize)> {
    wait::until("a victim among preferred leaders", Duration::from_secs(40), || {
        let Some(chosen) = look(admin, topic, controller_too)? else {
            admin.elect_preferred()?;
            return Ok(None);
        };
        settle();
        Ok((look(admin, topic, controller_too)? == Some(chosen)).then_some(chosen))
    })
}

/// The victim and the active controller, as all brokers tell; nothing while a partition is not led
/// by its preferred leader.
fn look(admin: &Admin, topic: &str, controller_too: bool) -> Result<Option<(usize, usize)>> {
    let partitions = admin.partitions_agreed(&[topic])?;
    if partitions.values().any(|p| p.replicas.first() != Some(&p.leader)) {
        return Ok(None);
    }
    let controller = admin.controller_agreed()?;
    let mut leaders = partitions.values().map(|p| p.leader);
    let victim = leaders
        .find(|leader| (*leader == controller) == controller_too)
        .with_context(|| format!("no leader to kill beside controller {controller}"))?;
    Ok(Some((usize::try_from(victim)?, usize::try_from(controller)?)))
}

/// Lets the load write undisturbed for a moment, so that a gap belongs to its own fault.
fn settle() {
    std::thread::sleep(Duration::from_millis(500));
}
