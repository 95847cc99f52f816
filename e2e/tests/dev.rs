//! `broker dev`, as the README begins with it: three brokers from the samples, the printed lines
//! copied, Kafka's own tools, Ctrl-C, and the same data in the next run.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use e2e::admin::Admin;
use e2e::clients::{run, tool_ok};
use e2e::process::{Process, tail};
use e2e::{ports, setup, wait};
use tempfile::TempDir;

const CONSOLE_PRODUCER: &str = "org.apache.kafka.tools.ConsoleProducer";
const CONSOLE_CONSUMER: &str = "org.apache.kafka.tools.consumer.ConsoleConsumer";
const PRODUCER_PERF: &str = "org.apache.kafka.tools.ProducerPerformance";
const CONSUMER_PERF: &str = "org.apache.kafka.tools.ConsumerPerformance";

const BROKERS: u16 = 3;
/// The second topic of the samples.
const TELEMETRY: &str = "castle.telemetry";
const RECORDS: &str = "20000";

#[test]
fn one_command_starts_a_cluster_that_keeps_its_data() -> Result<()> {
    let _one = e2e::exclusive();
    let (dir, port) = samples()?;
    let mut dev = Dev::start(dir.path(), "first", BROKERS)?;
    let done = first_run(&mut dev, port).and_then(|()| dev.stop(port));
    done.with_context(|| dev.said())?;
    let mut dev = Dev::start(dir.path(), "second", BROKERS)?;
    let done = second_run(&mut dev).and_then(|()| dev.stop(port));
    done.with_context(|| dev.said())
}

/// More brokers in the YAML and the same data: the new ones join the cluster of the first.
#[test]
fn a_cluster_of_one_broker_grows_to_three() -> Result<()> {
    let _one = e2e::exclusive();
    let (dir, port) = samples()?;
    let files = ["cluster.yaml", "topics.yaml"].map(|name| dir.path().join(name));
    let three: Vec<String> = files.iter().map(fs::read_to_string).collect::<Result<_, _>>()?;
    for (file, text) in files.iter().zip(&three) {
        // Brokers, voters, replicas, and replicas in sync.
        fs::write(file, text.replace(": 3\n", ": 1\n").replace(": 2\n", ": 1\n"))?;
    }
    let mut dev = Dev::start(dir.path(), "one", 1)?;
    let produced = dev.line("produce:").and_then(|line| shell(&line)).and_then(|_| dev.stop(port));
    produced.with_context(|| dev.said())?;
    for (file, text) in files.iter().zip(&three) {
        fs::write(file, text)?;
    }
    let mut dev = Dev::start(dir.path(), "three", BROKERS)?;
    let done = grown(&mut dev).and_then(|()| dev.stop(port));
    done.with_context(|| dev.said())
}

fn grown(dev: &mut Dev) -> Result<()> {
    let bootstrap = dev.line("bootstrap address:")?;
    let brokers: Vec<String> = bootstrap.split(',').map(str::to_owned).collect();
    ensure!(brokers.len() == 3, "{bootstrap}");
    let read = dev.line("consume:").and_then(|line| shell(&line))?;
    ensure!(read == "hello\n", "{read:?}");
    for broker in [1, 2] {
        dev.line(&format!("broker {broker} votes on metadata from now on"))?;
    }
    let admin = Admin::new(brokers)?;
    admin.create_topic("wide", 3, 3, &[])?;
    let wide = admin.wait_in_sync(&["wide"], Duration::from_secs(30))?;
    ensure!(wide.values().all(|p| p.replicas.len() == 3), "{wide:?}");
    Ok(())
}

/// As in `broker dev | head -n 1`: nobody reads any more, and Ctrl-C stops the brokers in order.
#[test]
fn nobody_has_to_read_what_it_says() -> Result<()> {
    let _one = e2e::exclusive();
    let (dir, port) = samples()?;
    let mut command = Command::new("bash");
    let line = "exec \"$0\" dev -f cluster.yaml -f topics.yaml > >(head -n 1)";
    command.current_dir(dir.path()).args(["-c", line]).arg(setup::broker()?);
    let process = Process::spawn(&mut command, &dir.path().join("unread"))?;
    let mut dev = Dev { process, dir: dir.path().to_owned(), brokers: BROKERS };
    let admin = Admin::new(addresses(port))?;
    let there = admin.wait_in_sync(&["messages"], Duration::from_secs(60));
    let done = there.and_then(|_| dev.stop(port));
    done.with_context(|| dev.said())
}

/// A port that another process has, and a directory that another broker has.
#[test]
fn what_keeps_a_broker_from_starting_is_said_at_once() -> Result<()> {
    let _one = e2e::exclusive();
    let (dir, port) = samples()?;
    let taken = std::net::TcpListener::bind(("127.0.0.1", port + 1))?;
    let mut dev = Dev::start(dir.path(), "taken", BROKERS)?;
    let said = says_within_a_second(&mut dev, "broker 1: exited with code 1: bind listener");
    drop(taken);
    // The port is free again: the broker is started again by itself.
    let well = said.and_then(|_| dev.line("all brokers are ready"));
    well.and_then(|_| dev.stop(port)).with_context(|| dev.said())?;
    let data = dir.path().join("data/castle/broker-2/data");
    let lock = fs::File::open(data.join(".lock"))?;
    rustix::fs::flock(&lock, rustix::fs::FlockOperation::LockExclusive)?;
    let mut dev = Dev::start(dir.path(), "locked", BROKERS)?;
    let said = says_within_a_second(&mut dev, "broker 2: exited with code 1: ");
    drop(lock);
    let named = said.and_then(|line| {
        ensure!(line.contains(&data.display().to_string()), "{line}");
        dev.line("all brokers are ready")
    });
    named.and_then(|_| dev.stop(port)).with_context(|| dev.said())
}

/// The line that starts so, which must come within a second of the brokers' start.
fn says_within_a_second(dev: &mut Dev, start: &str) -> Result<String> {
    dev.line("cluster castle")?;
    let asked = std::time::Instant::now();
    let line = dev.line(start)?;
    let took = asked.elapsed();
    ensure!(took < Duration::from_secs(1), "it said so after {took:?}");
    Ok(line)
}

/// After restarts every broker leads its share again, without anybody's doing.
#[test]
fn leaders_are_balanced_again_after_a_restart() -> Result<()> {
    let _one = e2e::exclusive();
    let (dir, port) = samples()?;
    let mut dev = Dev::start(dir.path(), "first", BROKERS)?;
    let made = dev.line("bootstrap address:").and_then(|_| {
        let admin = Admin::new(addresses(port))?;
        admin.create_topic("wide", 60, 3, &[])?;
        admin.wait_in_sync(&["wide"], Duration::from_secs(30))?;
        dev.stop(port)
    });
    made.with_context(|| dev.said())?;
    let mut dev = Dev::start(dir.path(), "second", BROKERS)?;
    let balanced = dev.line("bootstrap address:").and_then(|_| {
        let admin = Admin::new(addresses(port))?;
        wait::until("every broker leads its share", Duration::from_secs(30), || {
            let wide = admin.partitions(&["wide"])?;
            let led = |id| wide.values().filter(|p| p.leader == id).count();
            Ok((0..3).all(|id| led(id) >= 18).then_some(()))
        })?;
        dev.stop(port)
    });
    balanced.with_context(|| dev.said())
}

fn addresses(port: u16) -> Vec<String> {
    (port..port + BROKERS).map(|port| format!("127.0.0.1:{port}")).collect()
}

/// A directory with the YAML that the command takes without any, but with a port that nobody uses.
fn samples() -> Result<(TempDir, u16)> {
    setup::packages()?;
    let dir = tempfile::tempdir()?;
    let port = ports::free_for_dev(BROKERS)?;
    let samples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../manifests/samples");
    let cluster = fs::read_to_string(samples.join("cluster.yaml"))?;
    ensure!(cluster.contains("port: 9092"), "the sample has another port:\n{cluster}");
    let cluster = cluster.replace("port: 9092", &format!("port: {port}"));
    fs::write(dir.path().join("cluster.yaml"), cluster)?;
    fs::copy(samples.join("topics.yaml"), dir.path().join("topics.yaml"))?;
    Ok((dir, port))
}

struct Dev {
    process: Process,
    dir: PathBuf,
    brokers: u16,
}

impl Dev {
    fn start(dir: &Path, name: &str, brokers: u16) -> Result<Dev> {
        let mut command = Command::new(setup::broker()?);
        command.current_dir(dir).args(["dev", "-f", "cluster.yaml", "-f", "topics.yaml"]);
        let process = Process::spawn(&mut command, &dir.join(name))?;
        Ok(Dev { process, dir: dir.to_owned(), brokers })
    }

    /// What it printed after `start` in the line that begins so.
    fn line(&mut self, start: &str) -> Result<String> {
        let line = format!("a line that starts with {start:?}");
        let found = wait::until(line, Duration::from_secs(150), || {
            let alive = self.process.alive();
            let text = fs::read_to_string(self.process.log())?;
            // A line is whole when another one follows.
            let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
            let mut rest = whole.lines().filter_map(|line| line.trim().strip_prefix(start));
            let rest = rest.next().map(|rest| rest.trim().to_owned());
            Ok((rest.is_some() || !alive).then_some(rest))
        })?;
        found.with_context(|| format!("it ended before it said {start:?}"))
    }

    /// Ctrl-C: a clean end of the command and of every broker.
    fn stop(&mut self, port: u16) -> Result<()> {
        let ended = self.process.interrupt(Duration::from_secs(60))?;
        ensure!(ended.success(), "{ended}");
        for broker in 0..self.brokers {
            let listener = std::net::TcpStream::connect(("127.0.0.1", port + broker));
            ensure!(listener.is_err(), "broker {broker} still listens");
            let marker = self.broker(broker).join("data/.kafka_cleanshutdown");
            ensure!(marker.exists(), "broker {broker} was not stopped, but ended");
        }
        Ok(())
    }

    fn broker(&self, id: u16) -> PathBuf {
        self.dir.join(format!("data/castle/broker-{id}"))
    }

    fn said(&self) -> String {
        let brokers = (0..self.brokers).map(|id| {
            let log = self.broker(id).join("broker.log");
            format!("--- the end of {}\n{}", log.display(), tail(&log, 25))
        });
        let brokers: Vec<String> = brokers.collect();
        format!("broker dev said:\n{}\n{}", tail(self.process.log(), 60), brokers.join("\n"))
    }
}

fn first_run(dev: &mut Dev, port: u16) -> Result<()> {
    let bootstrap = dev.line("bootstrap address:")?;
    let brokers = addresses(port);
    ensure!(bootstrap == brokers.join(","), "{bootstrap}");
    for (topic, partitions) in [("messages", 6), (TELEMETRY, 3)] {
        let there = Admin::new(brokers.clone())?.wait_in_sync(&[topic], Duration::from_secs(30))?;
        ensure!(there.len() == partitions, "{topic}: {there:?}");
        ensure!(there.values().all(|p| p.replicas.len() == 3), "{topic}: {there:?}");
    }
    let produce = dev.line("produce:")?;
    shell(&produce)?;
    let consume = dev.line("consume:")?;
    let read = shell(&consume)?;
    ensure!(read == "hello\n", "{consume}: {read:?}");
    let produce = dev.line("kafka-console-producer.sh")?;
    let produce: Vec<&str> = produce.split_whitespace().collect();
    tool_ok(CONSOLE_PRODUCER, &produce, "one\ntwo\nthree\n")?;
    messages_are_there(dev)?;
    let server = format!("bootstrap.servers={bootstrap}");
    let what = ["--topic", TELEMETRY, "--num-records", RECORDS, "--record-size", "100"];
    let how = ["--throughput", "-1", "--producer-props", &server, "acks=all"];
    let produced = tool_ok(PRODUCER_PERF, &[&what[..], &how].concat(), "")?;
    ensure!(produced.contains(&format!("{RECORDS} records sent")), "{produced}");
    telemetry_is_there(&bootstrap)
}

/// With another run's lines: the same addresses, and what the first run was given.
fn second_run(dev: &mut Dev) -> Result<()> {
    let bootstrap = dev.line("bootstrap address:")?;
    let messages = dev.line("topic messages:")?;
    ensure!(messages == "exists with 6 partitions", "{messages}");
    let consume = dev.line("consume:")?;
    same(&shell(&consume)?)?;
    messages_are_there(dev)?;
    telemetry_is_there(&bootstrap)
}

/// Runs a printed line as somebody would who pastes it.
fn shell(line: &str) -> Result<String> {
    let said = run(Command::new("sh").args(["-c", line]), "", Duration::from_secs(60))?;
    ensure!(said.success, "{line} failed\n{}\n{}", said.out, said.err);
    Ok(said.out)
}

fn messages_are_there(dev: &mut Dev) -> Result<()> {
    let consume = dev.line("kafka-console-consumer.sh")?;
    let consume: Vec<&str> = consume.split_whitespace().collect();
    let stop = ["--max-messages", "4", "--timeout-ms", "20000"];
    same(&tool_ok(CONSOLE_CONSUMER, &[&consume[..], &stop].concat(), "")?)
}

/// In any order: they are spread over the partitions.
fn same(read: &str) -> Result<()> {
    let mut lines: Vec<&str> = read.lines().collect();
    lines.sort_unstable();
    ensure!(lines == ["hello", "one", "three", "two"], "{lines:?}");
    Ok(())
}

fn telemetry_is_there(bootstrap: &str) -> Result<()> {
    let what = ["--bootstrap-server", bootstrap, "--topic", TELEMETRY, "--num-records", RECORDS];
    let consumed = tool_ok(CONSUMER_PERF, &[&what[..], &["--timeout", "20000"]].concat(), "")?;
    // The second line holds start, end, MB, MB/s and the number of records.
    let line = consumed.lines().nth(1).unwrap_or_default();
    let count = line.split(", ").nth(4).and_then(|count| count.parse::<u32>().ok());
    ensure!(count == RECORDS.parse().ok(), "{consumed}");
    Ok(())
}
