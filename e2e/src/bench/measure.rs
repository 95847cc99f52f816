//! One turn: a fresh cluster, the official tools against it, and what its processes used.

use anyhow::{Context, Result};

use super::report::{Figures, Key};
use super::{Contender, Plan, failover};
use crate::clients::tool_ok;
use crate::{Cluster, process};

const PARTITIONS: i32 = 6;
const RECORD_BYTES: [u64; 2] = [100, 1024];

pub fn run(
    plan: &Plan,
    contender: &Contender,
    brokers: usize,
    figures: &mut Figures,
) -> Result<()> {
    let mut note = |what: &str, unit: &'static str, value: f64| {
        let name = format!("{what}, {brokers} {}", if brokers == 1 { "broker" } else { "brokers" });
        eprintln!("  {name}: {value:.2} {unit}");
        figures.add(Key { name, unit }, contender, value);
    };
    let mut cluster = Cluster::start(contender.cluster(brokers))?;
    note("start until all serve", "s", cluster.started_in().as_secs_f64());
    let at = cluster.bootstrap();
    warm_up(&cluster, &at)?;
    for bytes in RECORD_BYTES {
        throughput(plan, &cluster, &at, bytes, &mut note)?;
    }
    latency(plan, &cluster, &at, &mut note)?;
    memory(&cluster, &mut note)?;
    if brokers > 1 {
        for gap in failover::gaps(plan, &mut cluster)? {
            note("gap in acknowledged writes after SIGKILL of a leader", "ms", gap);
        }
    }
    cluster.check_alive()
}

/// Both sides get to compile, to open and to size what they compile, open and size lazily.
fn warm_up(cluster: &Cluster, at: &str) -> Result<()> {
    let replication = cluster.config().replication();
    cluster.admin()?.create_topic("warm", PARTITIONS, replication, &[])?;
    produce(at, "warm", 200_000, 100)?;
    consume(at, "warm", 200_000)?;
    Ok(())
}

fn throughput(
    plan: &Plan,
    cluster: &Cluster,
    at: &str,
    bytes: u64,
    note: &mut impl FnMut(&str, &'static str, f64),
) -> Result<()> {
    let topic = format!("bench-{bytes}");
    let replication = cluster.config().replication();
    cluster.admin()?.create_topic(&topic, PARTITIONS, replication, &[])?;
    let records = plan.bytes / bytes;
    let gigabytes = (records * bytes) as f64 / 1e9;
    let before = cpu_seconds(cluster)?;
    let produced = produce(at, &topic, records, bytes)?;
    let between = cpu_seconds(cluster)?;
    note(&format!("produce {bytes} B, acks=all"), "MB/s", produced.megabytes_per_second);
    note(&format!("produce {bytes} B, p99"), "ms", produced.p99_ms);
    note(&format!("broker CPU, produce {bytes} B"), "s/GB", (between - before) / gigabytes);
    let consumed = consume(at, &topic, records)?;
    let after = cpu_seconds(cluster)?;
    note(&format!("consume {bytes} B"), "MB/s", consumed);
    note(&format!("broker CPU, consume {bytes} B"), "s/GB", (after - between) / gigabytes);
    Ok(())
}

struct Produced {
    megabytes_per_second: f64,
    p99_ms: f64,
}

fn produce(at: &str, topic: &str, records: u64, bytes: u64) -> Result<Produced> {
    let (records, size) = (records.to_string(), bytes.to_string());
    let server = format!("bootstrap.servers={at}");
    let what = ["--topic", topic, "--num-records", &records, "--record-size", &size];
    let how = ["--throughput", "-1", "--producer-props", &server, "acks=all"];
    let class = "org.apache.kafka.tools.ProducerPerformance";
    let out = tool_ok(class, &[&what[..], &how].concat(), "")?;
    let line = out.lines().last().context("no result")?;
    // "N records sent, R records/sec (M MB/sec), ... ms avg latency, ..., P ms 99th, Q ms 99.9th."
    let rate: f64 = line
        .split("records/sec (")
        .nth(1)
        .and_then(|rest| rest.split(" MB/sec").next()?.parse().ok())
        .with_context(|| format!("no rate in {line:?}"))?;
    let p99_ms = line
        .split(" ms 99th")
        .next()
        .and_then(|rest| rest.rsplit(' ').next()?.parse().ok())
        .with_context(|| format!("no 99th in {line:?}"))?;
    // The tool's megabyte is 2^20 bytes.
    Ok(Produced { megabytes_per_second: rate * 1.048_576, p99_ms })
}

/// Megabytes per second, from the first fetch on.
fn consume(at: &str, topic: &str, records: u64) -> Result<f64> {
    let records = records.to_string();
    let what = ["--bootstrap-server", at, "--topic", topic, "--num-records", &records];
    let class = "org.apache.kafka.tools.ConsumerPerformance";
    let out = tool_ok(class, &[&what[..], &["--timeout", "60000"]].concat(), "")?;
    let mut lines = out.lines().filter(|line| line.contains(", "));
    let names: Vec<&str> = lines.next().context("no header")?.split(", ").collect();
    let values: Vec<&str> = lines.next().context("no result")?.split(", ").collect();
    let at = names.iter().position(|name| name.trim() == "fetch.MB.sec").context("no rate")?;
    let rate: f64 = values.get(at).context("a short line")?.trim().parse()?;
    Ok(rate * 1.048_576)
}

fn latency(
    plan: &Plan,
    cluster: &Cluster,
    at: &str,
    note: &mut impl FnMut(&str, &'static str, f64),
) -> Result<()> {
    let replication = cluster.config().replication();
    cluster.admin()?.create_topic("latency", 1, replication, &[])?;
    let count = plan.round_trips.to_string();
    let what = ["--bootstrap-server", at, "--topic", "latency", "--num-records", &count];
    let how = ["--producer-acks", "all", "--record-size", "100"];
    let class = "org.apache.kafka.tools.EndToEndLatency";
    let out = tool_ok(class, &[&what[..], &how].concat(), "")?;
    let number = |name: &str| -> Result<f64> {
        let rest = out.split(name).nth(1).with_context(|| format!("no {name} in {out}"))?;
        let rest = rest.trim_start_matches([' ', '=', ':']);
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        Ok(rest[..end].parse()?)
    };
    note("end to end, mean", "ms", number("Avg latency")?);
    note("end to end, p50", "ms", number("50th")?);
    note("end to end, p99", "ms", number("99th")?);
    note("end to end, p99.9", "ms", number("99.9th")?);
    Ok(())
}

fn memory(cluster: &Cluster, note: &mut impl FnMut(&str, &'static str, f64)) -> Result<()> {
    let (mut resident, mut count) = (0, 0);
    for id in cluster.ids() {
        resident += cluster.process(id)?.usage()?.resident_bytes;
        count += 1;
    }
    note("resident memory per broker after all that", "MB", resident as f64 / count as f64 / 1e6);
    Ok(())
}

fn cpu_seconds(cluster: &Cluster) -> Result<f64> {
    let mut sum = 0.0;
    for id in cluster.ids() {
        sum += process::usage(cluster.process(id)?.id())?.cpu_seconds;
    }
    Ok(sum)
}
