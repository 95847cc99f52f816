//! What Apache Kafka answers at the edges of its protocol, told in error codes. Each case began as
//! a public report about a broker that answered something else, and a client that stood still for
//! it. `BARNABAS_E2E_TARGET=apache` asks Apache Kafka itself; cases of what it serves and we do not
//! are left out then.

mod absent;
mod configs;
mod groups;
mod records;

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail, ensure};
use bytes::Bytes;
use e2e::raw::{Answer, Raw};
use e2e::{Cluster, ClusterConfig, with_cluster};
use wire::Request;

const SOON: Duration = Duration::from_secs(20);
const TOPIC: &str = "edges";
const COMPACTED: &str = "edges-compacted";
const STAMPED: &str = "edges-stamped";

type Case = fn(&mut Edge) -> Result<()>;

const CASES: &[(&str, Case)] = &[
    ("a Metadata request makes the topic of the offsets", groups::offsets_topic),
    ("text in another encoding than UTF-8", odd_text),
    ("odd batches", records::odd_batches),
    ("offsets by times that are none", records::odd_timestamps),
    ("groups that do not exist", groups::unknown_groups),
    ("a group is known from its first join on", groups::first_join),
    ("configs: topics by impossible names", configs::impossible_names),
    ("configs: brokers", configs::broker_configs),
    ("configs: what every key is", configs::documented_configs),
    ("configs: an internal key", configs::internal_key),
    ("configs: loggers, groups, client metrics", configs::other_configs),
    ("features that are absent are described as empty", absent::absent_features),
    ("a connection that reached another node", absent::misrouted),
    ("the consumer group protocol has Kafka's codes", groups::consumer_protocol),
];

#[test]
fn the_edges_are_where_kafka_has_them() {
    let config = ClusterConfig::new(1)
        .set("group.min.session.timeout.ms", 0)
        .set("auto.create.topics.enable", true)
        .set("offsets.topic.num.partitions", 3)
        .set("offsets.topic.replication.factor", 1);
    with_cluster(config, |cluster| {
        let mut edge = Edge::new(cluster)?;
        for (name, case) in CASES {
            case(&mut edge).with_context(|| format!("case {name}"))?;
            cluster.check_alive().with_context(|| format!("after {name}"))?;
            println!("ok {name}");
        }
        Ok(())
    });
}

/// One connection to the only broker.
struct Edge {
    address: String,
    raw: Raw,
}

impl Edge {
    fn new(cluster: &Cluster) -> Result<Edge> {
        let admin = cluster.admin()?;
        admin.create_topic(TOPIC, 1, 1, &[])?;
        admin.create_topic(COMPACTED, 1, 1, &[("cleanup.policy", "compact")])?;
        admin.create_topic(STAMPED, 1, 1, &[("message.timestamp.type", "LogAppendTime")])?;
        let address = cluster.address(1);
        Ok(Edge { raw: Raw::connect(&address)?, address })
    }

    fn call<R: Request>(&mut self, request: &R, version: i16) -> Result<R::Response> {
        self.raw.call(request, version, SOON)
    }
}

/// All differences at once: a table is read more easily than its first wrong line.
fn compare<T: PartialEq + std::fmt::Debug>(rows: &[(&str, T, T)]) -> Result<()> {
    let wrong: Vec<String> = rows
        .iter()
        .filter(|(_, seen, wanted)| seen != wanted)
        .map(|(what, seen, wanted)| format!("{what}: {seen:?}, not {wanted:?}"))
        .collect();
    ensure!(wrong.is_empty(), "{}", wrong.join("; "));
    Ok(())
}

/// Clients put names of hosts and programs into their ids, in whatever encoding they have.
fn odd_text(edge: &mut Edge) -> Result<()> {
    let latin1 = b"k\xf6ln".as_slice();
    let ids: [&[u8]; 7] =
        [b"a:1", b"x (y/z)", "k\u{f6}ln".as_bytes(), b"", &[b'x'; 32_000], latin1, b"\x80\xff\0\n"];
    let text = |bytes: &[u8]| [&(bytes.len() as i16).to_be_bytes()[..], bytes].concat();
    let mut frames: Vec<Vec<u8>> =
        ids.iter().map(|id| [&[0, 18, 0, 0, 0, 0, 0, 7][..], &text(id)].concat()).collect();
    // FindCoordinator version 1 with a group of such a name.
    frames.push([&[0, 10, 0, 1, 0, 0, 0, 7][..], &text(b"c"), &text(latin1), &[0]].concat());
    for frame in frames {
        let mut raw = Raw::connect(&edge.address)?;
        raw.send_frame(&frame)?;
        let Answer::Frame(answer) = raw.answer(SOON)? else { bail!("no answer to {frame:?}") };
        ensure!(answer.get(..4) == Some(&[0, 0, 0, 7]), "an answer to something else");
    }
    Ok(())
}

fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

fn produce(edge: &mut Edge, topic: &str, index: i32, records: Vec<u8>) -> Result<i16> {
    records::produce_with(edge, topic, index, Some(Bytes::from(records)), -1)
}
