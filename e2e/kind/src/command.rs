//! The commands that a user would type: their output where it is wanted, their words where they
//! fail.

use std::io::Write;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

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

/// Runs a command to its end with the input given.
pub fn run(command: &mut Command, input: &str) -> Result<String> {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().with_context(|| format!("cannot start {command:?}"))?;
    // Inputs are shorter than what a pipe holds, so this ends before anybody reads.
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(input.as_bytes()).with_context(|| format!("input of {command:?}"))?;
    }
    let output = child.wait_with_output()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    if !output.status.success() {
        let complaint = String::from_utf8_lossy(&output.stderr);
        bail!("{command:?}: {}\n{}{}", output.status, text, complaint.trim_end());
    }
    Ok(text)
}
