//! From YAML to what must run on this machine: one `server.properties` per broker and the topics.
//! Pure; the files are read and the processes started elsewhere.
//!
//! Ports follow from the listener: broker *n* serves listener `port + n`, the internal listener of
//! the quorum is at the first listener's `port + 100 + n`, and HTTP (`/metrics`, `/readyz`) at
//! `port + 200 + n`. They must not change between runs, since the quorum remembers its addresses.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::{Path, PathBuf};

use base::topic_name::{self, NameError};
use config::{cluster_id_of, internal_secret_file};
use thiserror::Error;

use crate::resources::{KafkaCluster, Manifest, Topic};

/// Brokers that one machine is asked to run at most; also the distance between port ranges.
pub const BROKERS_MAX: i32 = 100;
const CONTROLLER_PORT_OFFSET: i32 = BROKERS_MAX;
const HTTP_PORT_OFFSET: i32 = 2 * BROKERS_MAX;

/// Keys that `broker dev` derives itself; a user who sets one would break the cluster.
const DERIVED_KEYS: [&str; 14] = [
    "node.id",
    "broker.id",
    "process.roles",
    "listeners",
    "advertised.listeners",
    "listener.security.protocol.map",
    "controller.listener.names",
    "controller.quorum.voters",
    "inter.broker.listener.name",
    "log.dirs",
    "log.dir",
    "barnabas.cluster.id",
    "barnabas.internal.secret.file",
    "barnabas.internal.secret.required",
];

/// Why the YAML does not describe a cluster that this machine can run.
#[derive(Debug, Error, PartialEq)]
pub enum PlanError {
    #[error("no KafkaCluster in the given files")]
    NoCluster,
    #[error("several KafkaClusters in the given files ({0}): name one with --cluster")]
    SeveralClusters(String),
    #[error("no KafkaCluster named {0} in the given files")]
    UnknownCluster(String),
    #[error("topic {topic} refers to cluster {cluster}, which is not in the given files")]
    UnknownClusterOfTopic { topic: String, cluster: String },
    #[error("topic {0} is given twice")]
    DuplicateTopic(String),
    #[error(transparent)]
    TopicName(#[from] NameError),
    #[error("topic {0} is internal: the brokers alone manage it")]
    InternalTopic(String),
    #[error("spec.brokers.replicas is {0}: one machine runs 1 to {BROKERS_MAX} brokers")]
    Replicas(i32),
    #[error(
        "spec.controllers.replicas is {voters}: 1, 3 or 5, and no more than the {replicas} brokers"
    )]
    Controllers { voters: i32, replicas: i32 },
    #[error(
        "listener {name}: port {port} is taken by {other}; listeners need ports {BROKERS_MAX} apart"
    )]
    Port { name: String, port: i32, other: String },
    #[error("listener {name}: port {port} leaves no room below 65536 for every broker")]
    PortRange { name: String, port: i32 },
    #[error("spec.config.{0} is derived from the rest of the spec and cannot be set")]
    DerivedKey(String),
    #[error("spec.listeners is empty")]
    NoListener,
}

/// One broker process.
#[derive(Clone, Debug, PartialEq)]
pub struct BrokerPlan {
    pub id: i32,
    /// `host:port` of the first listener.
    pub address: String,
    /// Of its listener for the quorum.
    pub controller_port: i32,
    pub http: String,
    /// Properties file, log and data live below.
    pub dir: PathBuf,
    /// The text of its `server.properties`.
    pub properties: String,
}

/// Everything that one run starts.
#[derive(Clone, Debug)]
pub struct ClusterPlan {
    pub name: String,
    pub brokers: Vec<BrokerPlan>,
    /// The file with the secret that the brokers share.
    pub secret: PathBuf,
    /// How many of the brokers vote on metadata: the first ones.
    pub voters: i32,
    pub topics: Vec<Topic>,
    /// Kinds that were passed over, for a notice to the user.
    pub ignored: Vec<String>,
}

impl ClusterPlan {
    /// The addresses that clients start from, comma-separated.
    pub fn bootstrap(&self) -> String {
        let addresses: Vec<&str> = self.brokers.iter().map(|b| b.address.as_str()).collect();
        addresses.join(",")
    }
}

/// All brokers of a machine are started and stopped together, and the first that is there leads
/// everything: what a cluster of servers leaves for five minutes is put right soon.
const IMBALANCE_KEY: &str = "leader.imbalance.check.interval.seconds";
const IMBALANCE_CHECK_SECONDS: &str = "5";

/// Chooses the cluster, checks it, and writes down its processes below `data`.
pub fn plan(
    manifests: Vec<Manifest>,
    wanted: Option<&str>,
    data: &Path,
) -> Result<ClusterPlan, PlanError> {
    let (mut clusters, mut all_topics, mut ignored) = (BTreeMap::new(), Vec::new(), Vec::new());
    for manifest in manifests {
        match manifest {
            Manifest::Cluster(cluster) => {
                clusters.insert(cluster.metadata.name.clone(), *cluster);
            }
            Manifest::Topic(topic) => all_topics.push(*topic),
            Manifest::Other(kind) => ignored.push(kind),
        }
    }
    let topics = topics_of(&clusters, all_topics)?;
    let (name, cluster) = choose(clusters, wanted)?;
    check(&cluster)?;
    let dir = data.join(&name);
    let brokers = (0..cluster.spec.brokers.replicas).map(|id| broker(&cluster, id, &dir)).collect();
    let topics = topics.into_iter().filter(|t| t.spec.cluster_ref.name == name).collect();
    let (secret, voters) = (internal_secret_file(&dir), cluster.spec.voters());
    Ok(ClusterPlan { name, brokers, secret, voters, topics, ignored })
}

fn topics_of(
    clusters: &BTreeMap<String, KafkaCluster>,
    topics: Vec<Topic>,
) -> Result<Vec<Topic>, PlanError> {
    let mut seen = std::collections::BTreeSet::new();
    for topic in &topics {
        let cluster = topic.spec.cluster_ref.name.clone();
        topic_name::check_new(topic.topic_name())?;
        if topic_name::is_internal(topic.topic_name()) {
            return Err(PlanError::InternalTopic(topic.topic_name().to_owned()));
        }
        if !clusters.contains_key(&cluster) && !clusters.is_empty() {
            let topic = topic.topic_name().to_owned();
            return Err(PlanError::UnknownClusterOfTopic { topic, cluster });
        }
        if !seen.insert((cluster, topic.topic_name().to_owned())) {
            return Err(PlanError::DuplicateTopic(topic.topic_name().to_owned()));
        }
    }
    Ok(topics)
}

fn choose(
    mut clusters: BTreeMap<String, KafkaCluster>,
    wanted: Option<&str>,
) -> Result<(String, KafkaCluster), PlanError> {
    if let Some(name) = wanted {
        return clusters
            .remove_entry(name)
            .ok_or_else(|| PlanError::UnknownCluster(name.to_owned()));
    }
    if clusters.len() > 1 {
        let names: Vec<String> = clusters.into_keys().collect();
        return Err(PlanError::SeveralClusters(names.join(", ")));
    }
    clusters.pop_first().ok_or(PlanError::NoCluster)
}

/// What the API server's rules would refuse, and what one machine cannot do.
fn check(cluster: &KafkaCluster) -> Result<(), PlanError> {
    let spec = &cluster.spec;
    let (replicas, voters) = (spec.brokers.replicas, spec.voters());
    if !(1..=BROKERS_MAX).contains(&replicas) {
        return Err(PlanError::Replicas(replicas));
    }
    if ![1, 3, 5].contains(&voters) || voters > replicas {
        return Err(PlanError::Controllers { voters, replicas });
    }
    if let Some(key) = DERIVED_KEYS.iter().find(|key| spec.config.contains_key(**key)) {
        return Err(PlanError::DerivedKey((*key).to_owned()));
    }
    check_ports(cluster)
}

fn check_ports(cluster: &KafkaCluster) -> Result<(), PlanError> {
    let listeners = &cluster.spec.listeners;
    let first = listeners.first().ok_or(PlanError::NoListener)?;
    let mut taken = vec![
        (first.port + CONTROLLER_PORT_OFFSET, "the quorum".to_owned()),
        (first.port + HTTP_PORT_OFFSET, "HTTP".to_owned()),
    ];
    for listener in listeners {
        let (name, port) = (listener.name.clone(), listener.port);
        if port < 1 || port + HTTP_PORT_OFFSET + BROKERS_MAX > 65_536 {
            return Err(PlanError::PortRange { name, port });
        }
        let near = |other: i32| (other - port).abs() < BROKERS_MAX;
        if let Some((_, other)) = taken.iter().find(|(other, _)| near(*other)) {
            return Err(PlanError::Port { name, port, other: other.clone() });
        }
        taken.push((port, format!("listener {name}")));
    }
    Ok(())
}

fn broker(cluster: &KafkaCluster, id: i32, dir: &Path) -> BrokerPlan {
    let secret = internal_secret_file(dir);
    let (spec, name) = (&cluster.spec, &cluster.metadata.name);
    let base = spec.listeners.first().map_or(0, |l| l.port);
    let dir = dir.join(format!("broker-{id}"));
    let http = format!("127.0.0.1:{}", base + HTTP_PORT_OFFSET + id);
    let quorum_base = base + CONTROLLER_PORT_OFFSET;
    let controller_port = quorum_base + id;
    let clients: Vec<String> = spec
        .listeners
        .iter()
        .map(|l| format!("{}://127.0.0.1:{}", l.name.to_uppercase(), l.port + id))
        .collect();
    let protocols: Vec<String> = spec
        .listeners
        .iter()
        .map(|l| format!("{}:PLAINTEXT", l.name.to_uppercase()))
        .chain(["CONTROLLER:PLAINTEXT".to_owned()])
        .collect();
    let voters: Vec<String> =
        (0..spec.voters()).map(|v| format!("{v}@127.0.0.1:{}", quorum_base + v)).collect();
    let role = if id < spec.voters() { "broker,controller" } else { "broker" };
    let own = [
        ("node.id", id.to_string()),
        ("process.roles", role.to_owned()),
        ("listeners", format!("{},CONTROLLER://127.0.0.1:{controller_port}", clients.join(","))),
        ("advertised.listeners", clients.join(",")),
        ("listener.security.protocol.map", protocols.join(",")),
        ("controller.listener.names", "CONTROLLER".to_owned()),
        ("controller.quorum.voters", voters.join(",")),
        (
            "inter.broker.listener.name",
            spec.listeners.first().map_or(String::new(), |l| l.name.to_uppercase()),
        ),
        ("log.dirs", dir.join("data").display().to_string()),
        ("barnabas.internal.secret.file", secret.display().to_string()),
        // Not from the voters, whom more brokers change.
        ("barnabas.cluster.id", cluster_id_of(name)),
        ("barnabas.http.listener", http.clone()),
    ];
    let mut properties =
        String::from("# Written by `broker dev` at every start; edit the YAML instead.\n");
    for (key, value) in own {
        push_property(&mut properties, key, &value);
    }
    if !spec.config.contains_key(IMBALANCE_KEY) {
        push_property(&mut properties, IMBALANCE_KEY, IMBALANCE_CHECK_SECONDS);
    }
    for (key, value) in &spec.config {
        push_property(&mut properties, key, &value.to_string());
    }
    let address = format!("127.0.0.1:{}", base + id);
    BrokerPlan { id, address, controller_port, http, dir, properties }
}

/// One line of a properties file; a backslash and a line break in a value are escaped.
fn push_property(text: &mut String, key: &str, value: &str) {
    let value = value.replace('\\', "\\\\").replace('\n', "\\n").replace('\r', "\\r");
    // Writing to a String cannot fail.
    let _ = writeln!(text, "{key}={value}");
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const SAMPLES: [&str; 2] = [
        include_str!("../../../manifests/samples/cluster.yaml"),
        include_str!("../../../manifests/samples/topics.yaml"),
    ];

    fn manifests(texts: &[&str]) -> Vec<Manifest> {
        texts.iter().flat_map(|t| crate::resources::parse_manifests(t).unwrap()).collect()
    }

    #[test]
    fn the_samples_are_a_cluster_of_three() {
        let plan = plan(manifests(&SAMPLES), None, Path::new("/d")).unwrap();
        assert_eq!(plan.bootstrap(), "127.0.0.1:9092,127.0.0.1:9093,127.0.0.1:9094");
        assert_eq!(plan.topics.len(), 2);
        let text = &plan.brokers[2].properties;
        for line in [
            "node.id=2",
            "process.roles=broker,controller",
            "listeners=PLAIN://127.0.0.1:9094,CONTROLLER://127.0.0.1:9194",
            "controller.quorum.voters=0@127.0.0.1:9192,1@127.0.0.1:9193,2@127.0.0.1:9194",
            "log.dirs=/d/castle/broker-2/data",
            "barnabas.internal.secret.file=/d/castle/internal.secret",
            "min.insync.replicas=2",
        ] {
            assert!(text.lines().any(|l| l == line), "{line} in {text}");
        }
    }

    #[test]
    fn brokers_beyond_the_voters_are_observers() {
        let text =
            SAMPLES[0].replace("    replicas: 3\n    storage", "    replicas: 4\n    storage");
        let plan = plan(manifests(&[&text]), None, Path::new("/d")).unwrap();
        assert!(plan.brokers[3].properties.contains("process.roles=broker\n"));
    }

    #[test]
    fn what_cannot_run_is_refused_with_its_reason() {
        let check = |from: &str, to: &str, want: &str| {
            let texts = [SAMPLES[0].replace(from, to), SAMPLES[1].to_owned()];
            let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
            let error = plan(manifests(&texts), None, Path::new("/d")).unwrap_err().to_string();
            assert!(error.contains(want), "{error}");
        };
        check("replicas: 3", "replicas: 2", "spec.controllers.replicas is 2");
        check("replicas: 3", "replicas: 101", "spec.brokers.replicas is 101");
        check("name: castle", "name: other", "topic messages refers to cluster castle");
        check("port: 9092", "port: 65500", "leaves no room");
        check("min.insync.replicas", "node.id", "spec.config.node.id is derived");
        let named = |name: &str| {
            let topics = SAMPLES[1].replace("name: messages", &format!("name: {name}"));
            let texts = [SAMPLES[0], &topics];
            plan(manifests(&texts), None, Path::new("/d")).unwrap_err().to_string()
        };
        assert!(named("__cluster_metadata").contains("reserved"));
        assert!(named("__consumer_offsets").contains("internal"));
        assert!(named("..").contains("not allowed"));
        let twice = [SAMPLES[0], SAMPLES[1], SAMPLES[1]];
        let error = plan(manifests(&twice), None, Path::new("/d")).unwrap_err();
        assert_eq!(error, PlanError::DuplicateTopic("messages".into()));
    }
}
