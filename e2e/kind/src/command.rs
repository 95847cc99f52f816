//! The commands that a user would type: their output where it is wanted, their words where they
//! fail.

use std::io::{Read, Write};
use std::process::{Command, Stdio};
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// A command that takes longer hangs: all that may wait have shorter limits of their own.
const LIMIT: Duration = Duration::from_secs(360);

/// The programs that the bed provides; `cargo x kind` puts them on the `PATH`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tool {
    Kubectl,
    Helm,
    Docker,
    Kind,
}

impl Tool {
    pub fn name(self) -> &'static str {
        match self {
            Self::Kubectl => "kubectl",
            Self::Helm => "helm",
            Self::Docker => "docker",
            Self::Kind => "kind",
        }
    }

    /// Runs the tool and returns what it printed; its complaint is the error.
    pub fn run(self, arguments: &[&str]) -> Result<String> {
        self.with_input(arguments, "")
    }

    pub fn with_input(self, arguments: &[&str], input: &str) -> Result<String> {
        let mut command = Command::new(self.name());
        run(command.args(arguments), input)
    }
}

/// Runs a command to its end with the input given; one that has none is killed.
pub fn run(command: &mut Command, input: &str) -> Result<String> {
    run_within(command, input, LIMIT)
}

fn run_within(command: &mut Command, input: &str, limit: Duration) -> Result<String> {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().with_context(|| format!("cannot start {command:?}"))?;
    // A command that reads nothing of a long input must not hold us, and says itself what is wrong.
    let (input, stdin) = (input.to_owned(), child.stdin.take());
    thread::spawn(move || stdin.map(|mut stdin| stdin.write_all(input.as_bytes())));
    let (stdout, stderr) = (read(child.stdout.take()), read(child.stderr.take()));
    // Both end with the command.
    let end = Instant::now() + limit;
    let printed = until(&stdout, end).zip(until(&stderr, end));
    if printed.is_none() {
        child.kill().with_context(|| format!("cannot kill {command:?}"))?;
    }
    let status = child.wait()?;
    let Some((text, complaint)) = printed else {
        bail!("{command:?}: killed, for it had not ended after {limit:?}");
    };
    if !status.success() {
        bail!("{command:?}: {status}\n{text}{}", complaint.trim_end());
    }
    Ok(text)
}

/// What a stream says up to its end, sent when it is there.
fn read(stream: Option<impl Read + Send + 'static>) -> Receiver<String> {
    let (sender, receiver) = sync_channel(1);
    thread::spawn(move || {
        let mut bytes = Vec::new();
        // What came before an error is still worth its words.
        let _ = stream.map(|mut stream| stream.read_to_end(&mut bytes));
        // Nobody waits any more for a command that was killed.
        let _ = sender.send(String::from_utf8_lossy(&bytes).into_owned());
    });
    receiver
}

fn until(text: &Receiver<String>, end: Instant) -> Option<String> {
    text.recv_timeout(end.saturating_duration_since(Instant::now())).ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_command_gives_its_output_or_its_complaint() {
        let long = "x".repeat(1 << 20);
        assert_eq!(run(&mut Command::new("cat"), &long).unwrap(), long);
        run(&mut Command::new("true"), &long).unwrap();
        let complains = run(Command::new("sh").args(["-c", "echo no >&2; exit 3"]), "");
        assert!(format!("{:#}", complains.unwrap_err()).contains("3\nno"));
    }

    #[test]
    fn a_command_that_hangs_is_killed() {
        let hangs = run_within(Command::new("sleep").arg("60"), "", Duration::from_millis(20));
        assert!(format!("{:#}", hangs.unwrap_err()).contains("killed"));
    }
}
