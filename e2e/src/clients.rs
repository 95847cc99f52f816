//! Runs the client programs. Their PASS and FAIL lines go to the test's output; a failure carries
//! all that the program said.

use std::io::Write;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use crate::cluster::java;
use crate::{Cluster, setup, wait};

/// For all scenarios of a client: each has its own, shorter limits.
const SUITE: Duration = Duration::from_secs(900);

/// Output of a tool that ended in time.
#[derive(Clone, Debug, Default)]
pub struct Said {
    pub out: String,
    pub err: String,
    pub success: bool,
}

/// Runs a command to its end, with a limit and with `input` on its standard input.
pub fn run(command: &mut Command, input: &str, limit: Duration) -> Result<Said> {
    let dir = tempfile::tempdir()?;
    let (out, err) = (dir.path().join("out"), dir.path().join("err"));
    command.stdin(Stdio::piped());
    command.stdout(std::fs::File::create(&out)?).stderr(std::fs::File::create(&err)?);
    let mut child = command.spawn().with_context(|| format!("cannot start {command:?}"))?;
    if let Some(mut stdin) = child.stdin.take() {
        // A tool that needs no input may be gone already.
        let _ = stdin.write_all(input.as_bytes());
    }
    let ended = wait::until(format!("{command:?}"), limit, || Ok(child.try_wait()?));
    if ended.is_err() {
        let _ = child.kill();
        let _ = child.wait();
    }
    let read = |path| std::fs::read(path).map(|text| String::from_utf8_lossy(&text).into_owned());
    let said = Said { out: read(&out)?, err: read(&err)?, success: false };
    match ended {
        Ok(status) => Ok(Said { success: status.success(), ..said }),
        Err(error) => bail!("{error:#}\n{}\n{}", said.out, said.err),
    }
}

/// Runs a program of scenarios: its lines are printed, and it must end well.
pub fn scenarios(cluster: &mut Cluster, command: &mut Command) -> Result<()> {
    let names = std::env::var("BARNABAS_E2E_SCENARIOS").unwrap_or_default();
    let names: Vec<&str> = names.split(',').filter(|name| !name.is_empty()).collect();
    named(cluster, command, &names)
}

fn named(cluster: &mut Cluster, command: &mut Command, names: &[&str]) -> Result<()> {
    command.arg(cluster.bootstrap()).arg(cluster.config().replication().to_string());
    command.args(names);
    let said = run(command, "", SUITE)?;
    print!("{}", said.out);
    cluster.check_alive()?;
    ensure!(said.success, "scenarios failed\n{}\n{}", said.out, said.err);
    ensure!(said.out.contains("PASS "), "no scenario ran\n{}\n{}", said.out, said.err);
    Ok(())
}

pub fn java_scenarios(cluster: &mut Cluster) -> Result<()> {
    let mut command = java(&setup::java()?, "-Xmx256m");
    scenarios(cluster, command.arg("clients.Scenarios"))
}

/// A program of the Java client's.
pub fn java_command() -> Result<Command> {
    Ok(java(&setup::java()?, "-Xmx128m"))
}

/// Scenarios that are run by name only.
pub fn java_scenarios_named(cluster: &mut Cluster, names: &[&str]) -> Result<()> {
    let mut command = java(&setup::java()?, "-Xmx256m");
    named(cluster, command.arg("clients.Scenarios"), names)
}

/// As [`python_scenarios`], by name.
pub fn python_scenarios_named(cluster: &mut Cluster, module: &str, names: &[&str]) -> Result<()> {
    named(cluster, &mut python(module)?, names)
}

pub fn go_scenarios(cluster: &mut Cluster) -> Result<()> {
    scenarios(cluster, Command::new(setup::go()?).arg("scenarios"))
}

/// `with_librdkafka` or `with_kafka_python`.
pub fn python_scenarios(cluster: &mut Cluster, module: &str) -> Result<()> {
    scenarios(cluster, &mut python(module)?)
}

/// One record there and back through TLS and SASL, by three clients.
pub fn secure_clients() -> Result<[(&'static str, Command); 3]> {
    let mut go = Command::new(setup::go()?);
    go.arg("secure");
    let librdkafka = python("secure_librdkafka")?;
    Ok([("kafka-python", python("secure")?), ("librdkafka", librdkafka), ("franz-go", go)])
}

fn python(module: &str) -> Result<Command> {
    let mut command = Command::new(setup::python()?);
    // Nothing may be written next to the sources.
    command.env("PYTHONDONTWRITEBYTECODE", "1");
    command.arg(setup::sources().join("python").join(format!("{module}.py")));
    Ok(command)
}

/// One of the official tools, by the name of its class.
pub fn tool(class: &str, args: &[&str], input: &str) -> Result<Said> {
    let mut command = java(&setup::java()?, "-Xmx256m");
    // They live for a second: the second compiler never pays off.
    command.args(["-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC"]);
    run(command.arg(class).args(args), input, Duration::from_secs(120))
}

/// As [`tool`], which must succeed; returns what it printed.
pub fn tool_ok(class: &str, args: &[&str], input: &str) -> Result<String> {
    let said = tool(class, args, input)?;
    ensure!(said.success, "{class} {args:?} failed\n{}\n{}", said.out, said.err);
    Ok(said.out)
}

/// kcat, from the distribution.
pub fn kcat(args: &[&str], input: &str) -> Result<String> {
    setup::packages()?;
    let said = run(Command::new("kcat").args(args), input, Duration::from_secs(60))?;
    ensure!(said.success, "kcat {args:?} failed\n{}\n{}", said.out, said.err);
    Ok(said.out)
}
