//! Continuous acknowledged writes by the official client, the journal of their acks, and what it
//! tells: the gaps that clients saw, and (by reading everything back) that nothing was lost,
//! doubled or reordered.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail, ensure};

use crate::clients::run;
use crate::cluster::java;
use crate::{setup, wait};

#[derive(Debug)]
pub struct Load {
    child: Child,
    journal: PathBuf,
    bootstrap: String,
    topic: String,
}

/// When each partition's records were acknowledged, in nanoseconds since 1970, sorted.
pub type Acks = BTreeMap<i32, Vec<u64>>;

pub fn now_ns() -> Result<u64> {
    Ok(u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH)?.as_nanos())?)
}

impl Load {
    /// Writes `rate` records per second to each partition of the topic until it is stopped.
    pub fn start(
        bootstrap: &str,
        topic: &str,
        partitions: i32,
        rate: u32,
        dir: &Path,
    ) -> Result<Load> {
        let journal = dir.join("acks");
        setup::go()?;
        let mut program = java(&setup::java()?, "-Xmx256m");
        program.args(["-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "clients.Load"]);
        program.args([bootstrap, topic, &partitions.to_string(), &rate.to_string()]);
        let child = program
            .arg(&journal)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(fs::File::create(dir.join("load.log"))?)
            .spawn()?;
        let (bootstrap, topic) = (bootstrap.to_owned(), topic.to_owned());
        let load = Load { child, journal, bootstrap, topic };
        wait::until("the first acknowledged record", Duration::from_secs(60), || {
            Ok((fs::metadata(&load.journal)?.len() > 0).then_some(()))
        })?;
        Ok(load)
    }

    /// Stops writing, waits for the last acks, and returns when they came.
    pub fn finish(&mut self) -> Result<Acks> {
        drop(self.child.stdin.take());
        let limit = Duration::from_secs(90);
        let status = wait::until("the load's end", limit, || Ok(self.child.try_wait()?))?;
        if !status.success() {
            let log = self.journal.with_file_name("load.log");
            bail!("the load failed: {}", fs::read_to_string(log).unwrap_or_default());
        }
        let mut acks = Acks::new();
        for line in fs::read_to_string(&self.journal)?.lines() {
            let mut fields = line.split(' ');
            let at = fields.next().context("a time")?.parse()?;
            let partition = fields.next().context("a partition")?.parse()?;
            acks.entry(partition).or_default().push(at);
        }
        acks.values_mut().for_each(|times| times.sort_unstable());
        Ok(acks)
    }

    /// Reads the topic to its end and compares it with the journal.
    pub fn verify(&self) -> Result<String> {
        let mut command = Command::new(setup::go()?);
        command.args(["verify", &self.bootstrap, &self.topic]).arg(&self.journal);
        let said = run(&mut command, "", Duration::from_secs(150))?;
        ensure!(said.success, "the log is not what was acknowledged\n{}\n{}", said.out, said.err);
        Ok(said.out.trim().to_owned())
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The gap of a partition without an ack after the fault.
pub const NEVER: Duration = Duration::from_nanos(u64::MAX);

/// The longest time without an ack that any of the partitions saw, counted from the fault (or the
/// last ack before it that is part of the silence) and looked for until `until_ns`.
pub fn longest_gap(acks: &Acks, fault_ns: u64, until_ns: u64) -> Duration {
    let gap = |times: &Vec<u64>| -> u64 {
        let from = times.partition_point(|t| *t < fault_ns).saturating_sub(1);
        let to = times.partition_point(|t| *t < until_ns);
        // The ack that ends a silence may come after the window: it counts.
        let window = &times[from..(to + 1).min(times.len())];
        window.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap_or(u64::MAX)
    };
    Duration::from_nanos(acks.values().map(gap).max().unwrap_or(u64::MAX))
}

/// Median and maximum.
pub fn summary(gaps: &[Duration]) -> (Duration, Duration) {
    let mut sorted = gaps.to_vec();
    sorted.sort_unstable();
    let at = |i: usize| sorted.get(i).copied().unwrap_or_default();
    (at(sorted.len() / 2), sorted.last().copied().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gap_spans_from_the_last_ack_before_the_fault() {
        let acks = Acks::from([(0, vec![10, 20, 90, 95, 300]), (1, vec![15, 25, 35, 96, 99])]);
        assert_eq!(longest_gap(&acks, 22, 97), Duration::from_nanos(205), "it ends after 97");
        assert_eq!(longest_gap(&acks, 22, 91), Duration::from_nanos(70));
        assert_eq!(longest_gap(&acks, 91, 93), Duration::from_nanos(61), "partition 1");
    }

    #[test]
    fn silence_to_the_end_is_the_longest_gap() {
        let acks = Acks::from([(0, vec![10, 20])]);
        assert_eq!(longest_gap(&acks, 30, 40), Duration::from_nanos(u64::MAX));
    }

    #[test]
    fn the_median_is_the_middle() {
        let ms = Duration::from_millis;
        assert_eq!(summary(&[ms(5), ms(1), ms(3)]), (ms(3), ms(5)));
    }
}
