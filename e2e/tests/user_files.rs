//! Files that people have: a broker starts from them as Apache Kafka does, or says which line keeps
//! it from starting. Each began as a public report or as somebody's published configuration.

use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use e2e::admin::Admin;
use e2e::process::{Process, tail};
use e2e::{Target, exclusive, ports, setup, wait};

const START: Duration = Duration::from_secs(60);

/// What every file has, unless a case brings its own.
const BASE: &str = "process.roles=broker,controller\nnode.id=1\n\
    controller.quorum.voters=1@127.0.0.1:CONTROL\ncontroller.listener.names=CONTROLLER\n\
    log.dirs=DIR\noffsets.topic.replication.factor=1\n";
const PLAIN: &str = "listeners=PLAINTEXT://127.0.0.1:CLIENT,CONTROLLER://127.0.0.1:CONTROL\n";

/// A name, whether the base comes first, the lines, and words that the log must have.
type Case = (&'static str, bool, &'static str, &'static [&'static str]);

const STARTS: &[Case] = &[
    ("plain", true, PLAIN, &[]),
    (
        "every interface",
        true,
        "listeners=PLAINTEXT://0.0.0.0:CLIENT,CONTROLLER://127.0.0.1:CONTROL\n\
         advertised.listeners=PLAINTEXT://127.0.0.1:CLIENT\n\
         listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT\n",
        &[],
    ),
    (
        "no host",
        true,
        "listeners=PLAINTEXT://:CLIENT,CONTROLLER://:CONTROL\n\
         advertised.listeners=PLAINTEXT://localhost:CLIENT\n",
        &[],
    ),
    (
        "listeners by names of their own",
        true,
        "listeners=OURS://127.0.0.1:CLIENT,CONTROLLER://127.0.0.1:CONTROL\n\
         inter.broker.listener.name=OURS\n\
         listener.security.protocol.map=OURS:PLAINTEXT,CONTROLLER:PLAINTEXT\n",
        &[],
    ),
    (
        "a host with an underscore",
        true,
        "listeners=PLAINTEXT://127.0.0.1:CLIENT,CONTROLLER://127.0.0.1:CONTROL\n\
         advertised.listeners=PLAINTEXT://my_kafka_1.local:CLIENT\n",
        &[],
    ),
    (
        "the syntax of Java's properties",
        false,
        "! a comment\n# another\nprocess.roles : broker,controller\nnode.id 1\n  \
         controller.quorum.voters = 1@127.0.0.1\\:CONTROL\ncontroller.listener.names=CONTROLLER\n\
         listeners=PLAINTEXT://127.0.0.1:CLIENT,\\\n    CONTROLLER://127.0.0.1:CONTROL\n\
         log.dirs=DIR\n\nlog.retention.hours=\\u0032\\u0034\n",
        &[],
    ),
    (
        "what older Kafkas left behind",
        true,
        "listeners=PLAINTEXT://127.0.0.1:CLIENT,CONTROLLER://127.0.0.1:CONTROL\n\
         zookeeper.connect=\ninter.broker.protocol.version=3.9\nlog.message.format.version=3.0\n\
         num.network.threads=3\nauto.leader.rebalance.enable=true\nlog.cleaner.enable=true\n",
        &["inter.broker.protocol.version", "since version 4.0"],
    ),
    (
        "keys of plug-ins",
        true,
        "listeners=PLAINTEXT://127.0.0.1:CLIENT,CONTROLLER://127.0.0.1:CONTROL\n\
         confluent.support.metrics.enable=false\n",
        &["confluent.support.metrics.enable"],
    ),
    (
        "both names of the id",
        true,
        "broker.id=1\nlisteners=PLAINTEXT://127.0.0.1:CLIENT,CONTROLLER://127.0.0.1:CONTROL\n",
        &[],
    ),
    (
        "the older name of the id alone",
        false,
        "process.roles=broker,controller\nbroker.id=1\nlog.dirs=DIR\n\
         controller.quorum.voters=1@127.0.0.1:CONTROL\ncontroller.listener.names=CONTROLLER\n\
         listeners=PLAINTEXT://127.0.0.1:CLIENT,CONTROLLER://127.0.0.1:CONTROL\n",
        &[],
    ),
];

const REFUSED: &[Case] = &[
    ("two ids", true, "broker.id=2\nlisteners=PLAINTEXT://127.0.0.1:CLIENT\n", &["broker.id"]),
    ("a misspelling", true, "log.retention.hour=1\n", &["did you mean log.retention.hours"]),
];

#[test]
fn brokers_start_from_the_files_that_people_have() {
    if Target::from_env() == Target::Apache {
        return;
    }
    let _one = exclusive();
    for case in STARTS {
        starts(case).unwrap_or_else(|error| panic!("{}: {error:#}", case.0));
        println!("ok {}", case.0);
    }
    for case in REFUSED {
        refused(case).unwrap_or_else(|error| panic!("{}: {error:#}", case.0));
        println!("ok {}", case.0);
    }
}

/// Runs a broker with the file; the port of its clients.
fn run(case: &Case, dir: &tempfile::TempDir) -> Result<(Process, u16)> {
    let (client, control) = (ports::free()?, ports::free()?);
    let (_, with_base, lines, _) = case;
    let text = format!("{}{lines}", if *with_base { BASE } else { "" })
        .replace("CLIENT", &client.to_string())
        .replace(":CONTROL\n", &format!(":{control}\n"))
        .replace(":CONTROL,", &format!(":{control},"))
        .replace("DIR", &dir.path().join("data").display().to_string());
    let file = dir.path().join("server.properties");
    fs::write(&file, text)?;
    let mut command = Command::new(setup::broker()?);
    command.args(["run", "--config"]).arg(&file);
    Ok((Process::spawn(&mut command, &dir.path().join("broker.log"))?, client))
}

fn starts(case: &Case) -> Result<()> {
    let dir = tempfile::tempdir()?;
    let (mut process, client) = run(case, &dir)?;
    let address = format!("127.0.0.1:{client}");
    let deadline = Instant::now() + START;
    loop {
        let seen = Admin::new(vec![address.clone()])?.metadata(&[]);
        match seen {
            Ok(metadata) if metadata.brokers.iter().any(|broker| broker.node_id == 1) => break,
            _ if !process.alive() => bail!("it ended\n{}", tail(process.log(), 20)),
            _ if Instant::now() > deadline => bail!("{seen:?}\n{}", tail(process.log(), 20)),
            _ => std::thread::sleep(Duration::from_millis(50)),
        }
    }
    let log = fs::read_to_string(process.log())?;
    for word in case.3 {
        ensure!(log.contains(word), "the log does not say {word:?}\n{log}");
    }
    let status = process.terminate(START)?;
    ensure!(status.success(), "it ended with {status}");
    Ok(())
}

fn refused(case: &Case) -> Result<()> {
    let dir = tempfile::tempdir()?;
    let (mut process, _) = run(case, &dir)?;
    wait::until("the broker to refuse its file", START, || Ok((!process.alive()).then_some(())))?;
    let log = fs::read_to_string(process.log()).context("read the log")?;
    for word in case.3 {
        ensure!(log.contains(word), "the log does not say {word:?}\n{log}");
    }
    Ok(())
}
