//! One supervised broker process: started, watched, started again when it dies, stopped by its id.

use std::fs;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context, Result};
use rustix::process::{Pid, Signal, kill_process};
use tokio::process::{Child, Command};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};

use super::plan::BrokerPlan;

/// A stop that takes longer than this ends by SIGKILL; the next start then recovers the log.
const STOP_TIMEOUT: Duration = Duration::from_secs(30);
const RESTART_DELAY_MIN: Duration = Duration::from_millis(500);
const RESTART_DELAY_MAX: Duration = Duration::from_secs(10);
/// A process that lived this long had started well, so its restart is prompt again.
const STARTED_WELL: Duration = Duration::from_secs(10);
/// A line of a log is not longer, where a person reads it.
const LAST_WORDS_BYTES_MAX: u64 = 2048;
/// The reason before the first start.
pub const STARTING: &str = "starting";
/// `broker run` exits with this code when its configuration is wrong: starting it again is of no
/// use.
pub const EXIT_CONFIG: u8 = 2;

/// What the supervisor of one broker is doing.
#[derive(Clone, Debug, PartialEq)]
pub enum ProcessState {
    Running {
        pid: i32,
    },
    /// Died for `reason`; will be started again.
    Restarting {
        reason: String,
    },
    /// Cannot run, or was stopped.
    Ended {
        reason: String,
    },
}

/// Runs one broker until `stop` turns true, and tells its state on `state`.
pub async fn supervise(
    plan: BrokerPlan,
    state: watch::Sender<ProcessState>,
    mut stop: watch::Receiver<bool>,
) -> Result<()> {
    let mut delay = RESTART_DELAY_MIN;
    loop {
        let started = Instant::now();
        let log = log_file(&plan);
        // What is in the log before belongs to earlier runs.
        let log_start = fs::metadata(&log).map_or(0, |metadata| metadata.len());
        let mut child = spawn(&plan)?;
        let pid = child.id().map_or(0, |pid| pid as i32);
        state.send_replace(ProcessState::Running { pid });
        let exit = tokio::select! {
            exit = child.wait() => exit.context("wait for a broker")?,
            () = stopped(&mut stop) => {
                let reason = stop_child(&mut child).await?;
                state.send_replace(ProcessState::Ended { reason });
                return Ok(());
            }
        };
        let reason = with_last_words(describe(exit), &log, log_start);
        if exit.code() == Some(i32::from(EXIT_CONFIG)) {
            state.send_replace(ProcessState::Ended { reason });
            return Ok(());
        }
        delay = if started.elapsed() > STARTED_WELL { RESTART_DELAY_MIN } else { delay };
        state.send_replace(ProcessState::Restarting { reason });
        tokio::select! {
            () = sleep(delay) => {}
            () = stopped(&mut stop) => return Ok(()),
        }
        delay = (delay * 2).min(RESTART_DELAY_MAX);
    }
}

/// A sender that is gone means stop, too.
async fn stopped(stop: &mut watch::Receiver<bool>) {
    let _ = stop.wait_for(|stop| *stop).await;
}

/// Where the broker's output goes.
pub fn log_file(plan: &BrokerPlan) -> PathBuf {
    plan.dir.join("broker.log")
}

fn spawn(plan: &BrokerPlan) -> Result<Child> {
    fs::create_dir_all(&plan.dir)
        .with_context(|| format!("create directory {}", plan.dir.display()))?;
    let properties = plan.dir.join("server.properties");
    fs::write(&properties, &plan.properties)
        .with_context(|| format!("write {}", properties.display()))?;
    let path = log_file(plan);
    let log = fs::OpenOptions::new().create(true).append(true).open(&path);
    let log = log.with_context(|| format!("open {}", path.display()))?;
    let program = std::env::current_exe().context("find this program's own file")?;
    Command::new(program)
        .arg("run")
        .arg("--config")
        .arg(&properties)
        .arg("--exit-with-parent")
        .stdin(Stdio::null())
        .stdout(log.try_clone().context("share the log file")?)
        .stderr(log)
        // Ctrl-C in the terminal is for the supervisor, which then stops the brokers in order.
        .process_group(0)
        .spawn()
        .context("start a broker process")
}

async fn stop_child(child: &mut Child) -> Result<String> {
    if let Some(pid) = child.id().and_then(|pid| Pid::from_raw(pid as i32)) {
        // A process that is already gone is what we want.
        let _ = kill_process(pid, Signal::TERM);
    }
    match timeout(STOP_TIMEOUT, child.wait()).await {
        Ok(exit) => Ok(describe(exit.context("wait for a broker")?)),
        Err(_) => {
            child.kill().await.context("kill a broker that did not stop")?;
            Ok(format!("killed after {} s", STOP_TIMEOUT.as_secs()))
        }
    }
}

/// Adds the last line that the process wrote: a broker that cannot start says there why.
fn with_last_words(reason: String, log: &Path, from: u64) -> String {
    match last_line(log, from) {
        Ok(Some(line)) => format!("{reason}: {line}"),
        // The reason stands without it.
        _ => reason,
    }
}

fn last_line(log: &Path, from: u64) -> std::io::Result<Option<String>> {
    let mut file = fs::File::open(log)?;
    let end = file.metadata()?.len();
    file.seek(SeekFrom::Start(from.max(end.saturating_sub(LAST_WORDS_BYTES_MAX))))?;
    let mut bytes = Vec::new();
    file.take(LAST_WORDS_BYTES_MAX).read_to_end(&mut bytes)?;
    let text = String::from_utf8_lossy(&bytes);
    let last = text.lines().rev().map(str::trim).find(|line| !line.is_empty());
    Ok(last.map(|line| line.strip_prefix("broker: ").unwrap_or(line).to_owned()))
}

fn describe(exit: ExitStatus) -> String {
    use std::os::unix::process::ExitStatusExt;
    match (exit.code(), exit.signal()) {
        (Some(0), _) => "stopped cleanly".to_owned(),
        (Some(code), _) => format!("exited with code {code}"),
        (None, Some(signal)) => format!("killed by signal {signal}"),
        (None, None) => "ended".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_reason_of_an_end_is_what_this_run_said_last() {
        let log = tempfile::NamedTempFile::new().unwrap();
        fs::write(log.path(), "broker: of an earlier run\n").unwrap();
        let from = fs::metadata(log.path()).unwrap().len();
        let reason = |log: &Path| with_last_words("exited with code 1".into(), log, from);
        assert_eq!(reason(log.path()), "exited with code 1");
        let more = "broker: of an earlier run\nstarting\nbroker: bind listener: taken\n\n";
        fs::write(log.path(), more).unwrap();
        assert_eq!(reason(log.path()), "exited with code 1: bind listener: taken");
        assert_eq!(reason(Path::new("/nowhere")), "exited with code 1");
    }
}
