//! Every broker key of Apache Kafka 4.4 with its default (those of whole mechanisms that the broker
//! does not have are in `unbuilt`), and the keys of our own (`barnabas.*`). The order is Kafka's:
//! server, network, log, replication, groups, security.

use super::key::Kind::{Bool, Double, Int, List, Long, OneOf, Password, Text};
use super::key::{BrokerKey, harmless, harmless_null, refused, refused_null, used, used_null};
use super::unbuilt::{INTERNAL, UNBUILT};

const COMPRESSION: &[&str] = &["uncompressed", "zstd", "lz4", "snappy", "gzip", "producer"];
const PROTOCOLS: &[&str] = &["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"];
/// Who says which replica a consumer reads from: the leader with the second, and without one.
const SELECTORS: &[&str] =
    &[RACK_AWARE_SELECTOR, "org.apache.kafka.common.replica.LeaderSelector", ""];
/// The value of `replica.selector.class` by which consumers read from the replica in their rack.
pub const RACK_AWARE_SELECTOR: &str = "org.apache.kafka.common.replica.RackAwareReplicaSelector";
const TIMESTAMP: &[&str] = &["CreateTime", "LogAppendTime"];

/// Server, network and controller.
const SERVER: &[BrokerKey] = &[
    used_null("node.id", Int(0)),
    // The older name of node.id: parsing sees to it that both say the same.
    used("broker.id", Int(-1), "-1"),
    used("process.roles", List, "broker,controller"),
    used("listeners", List, "PLAINTEXT://:9092"),
    used_null("advertised.listeners", List),
    used(
        "listener.security.protocol.map",
        List,
        "SASL_SSL:SASL_SSL,PLAINTEXT:PLAINTEXT,SSL:SSL,SASL_PLAINTEXT:SASL_PLAINTEXT",
    ),
    used_null("controller.listener.names", List),
    used("controller.quorum.voters", List, ""),
    used_null("inter.broker.listener.name", Text),
    used("security.inter.broker.protocol", OneOf(PROTOCOLS), "PLAINTEXT"),
    // Kafka's own sample file has it. Where it names others, parsing refuses it: see there.
    harmless("controller.quorum.bootstrap.servers", List, ""),
    harmless("controller.quorum.auto.join.enable", Bool, "false"),
    used("controller.quorum.election.timeout.ms", Int(1), "1000"),
    harmless("controller.quorum.election.backoff.max.ms", Int(0), "1000"),
    harmless("controller.quorum.fetch.timeout.ms", Int(0), "2000"),
    harmless("controller.quorum.fetch.max.bytes", Int(1), "1048576"),
    harmless("controller.quorum.fetch.snapshot.max.bytes", Int(1), "1048576"),
    harmless("controller.quorum.append.linger.ms", Int(0), "25"),
    harmless("controller.quorum.request.timeout.ms", Int(0), "2000"),
    harmless("controller.quorum.retry.backoff.ms", Int(0), "20"),
    harmless("controller.performance.sample.period.ms", Long(100), "60000"),
    harmless("controller.performance.always.log.threshold.ms", Long(0), "2000"),
    harmless("controller.socket.timeout.ms", Int(1), "30000"),
    used("broker.heartbeat.interval.ms", Int(1), "2000"),
    used("broker.session.timeout.ms", Int(1), "9000"),
    harmless("initial.broker.registration.timeout.ms", Int(0), "60000"),
    used_null("broker.rack", Text),
    used_null("log.dirs", List),
    used("log.dir", Text, "/tmp/kafka-logs"),
    used("cordoned.log.dirs", List, ""),
    used_null("metadata.log.dir", Text),
    harmless("metadata.log.segment.bytes", Int(12), "1073741824"),
    harmless("metadata.log.segment.ms", Long(0), "604800000"),
    harmless("metadata.log.segment.min.bytes", Int(12), "8388608"),
    harmless("metadata.log.max.record.bytes.between.snapshots", Long(1), "20971520"),
    harmless("metadata.log.max.snapshot.interval.ms", Long(0), "3600000"),
    harmless("metadata.max.retention.bytes", Long(-1), "104857600"),
    harmless("metadata.max.retention.ms", Long(-1), "604800000"),
    harmless("metadata.max.idle.interval.ms", Int(0), "500"),
    harmless("num.network.threads", Int(1), "3"),
    used("num.io.threads", Int(1), "8"),
    harmless("background.threads", Int(1), "10"),
    harmless_null("num.replica.alter.log.dirs.threads", Int(1)),
    used("num.recovery.threads.per.data.dir", Int(1), "2"),
    harmless("queued.max.requests", Int(1), "500"),
    harmless("queued.max.request.bytes", Long(-1), "-1"),
    harmless("request.timeout.ms", Int(1), "30000"),
    harmless("socket.connection.setup.timeout.ms", Long(0), "10000"),
    harmless("socket.connection.setup.timeout.max.ms", Long(0), "30000"),
    used("socket.send.buffer.bytes", Int(-1), "102400"),
    used("socket.receive.buffer.bytes", Int(-1), "102400"),
    used("socket.listen.backlog.size", Int(1), "50"),
    used("socket.request.max.bytes", Int(1), "104857600"),
    used("connections.max.idle.ms", Long(-1), "600000"),
    used("max.connections", Int(0), "2147483647"),
    used("max.connections.per.ip", Int(0), "2147483647"),
    refused("max.connections.per.ip.overrides", Text, ""),
    refused("max.connection.creation.rate", Int(0), "2147483647"),
    used("max.request.partition.size.limit", Int(1), "2000"),
    harmless_null("early.start.listeners", List),
    used("controlled.shutdown.enable", Bool, "true"),
    used("delete.topic.enable", Bool, "true"),
    used("auto.create.topics.enable", Bool, "true"),
    refused_null("create.topic.policy.class.name", Text),
    refused_null("alter.config.policy.class.name", Text),
    refused("config.providers", List, ""),
    harmless("unstable.api.versions.enable", Bool, "false"),
    harmless("unstable.feature.versions.enable", Bool, "false"),
    harmless("metric.reporters", List, ""),
    harmless("kafka.metrics.reporters", List, ""),
    harmless("kafka.metrics.polling.interval.secs", Int(1), "10"),
    harmless("metrics.num.samples", Int(1), "2"),
    harmless("metrics.sample.window.ms", Long(1), "30000"),
    harmless("metrics.recording.level", Text, "INFO"),
    harmless("telemetry.max.bytes", Int(1), "1048576"),
    refused_null("client.quota.callback.class", Text),
    used("quota.window.num", Int(1), "11"),
    used("quota.window.size.seconds", Int(1), "1"),
    harmless("replication.quota.window.num", Int(1), "11"),
    harmless("replication.quota.window.size.seconds", Int(1), "1"),
    harmless("alter.log.dirs.replication.quota.window.num", Int(1), "11"),
    harmless("alter.log.dirs.replication.quota.window.size.seconds", Int(1), "1"),
    used("controller.quota.window.num", Int(1), "11"),
    used("controller.quota.window.size.seconds", Int(1), "1"),
];

/// Topics, logs and replication.
const LOG: &[BrokerKey] = &[
    used("num.partitions", Int(1), "1"),
    used("default.replication.factor", Int(1), "1"),
    used("min.insync.replicas", Int(1), "1"),
    used("unclean.leader.election.enable", Bool, "false"),
    harmless("unclean.leader.election.interval.ms", Long(1), "300000"),
    used("auto.leader.rebalance.enable", Bool, "true"),
    used("leader.imbalance.check.interval.seconds", Long(1), "300"),
    used("message.max.bytes", Int(0), "1048588"),
    used("max.decompressed.message.bytes", Int(1), "2147483639"),
    used("compression.type", OneOf(COMPRESSION), "producer"),
    used("compression.gzip.level", Int(-1), "-1"),
    used("compression.lz4.level", Int(1), "9"),
    used("compression.zstd.level", Int(-131_072), "3"),
    used("log.segment.bytes", Int(1_048_576), "1073741824"),
    used_null("log.roll.ms", Long(1)),
    used("log.roll.hours", Int(1), "168"),
    used_null("log.roll.jitter.ms", Long(0)),
    used("log.roll.jitter.hours", Int(0), "0"),
    used_null("log.retention.ms", Long(-1)),
    used_null("log.retention.minutes", Int(-1)),
    used("log.retention.hours", Int(-1), "168"),
    used("log.retention.bytes", Long(-1), "-1"),
    used("log.retention.check.interval.ms", Long(1), "300000"),
    used("log.cleanup.policy", List, "delete"),
    used("log.segment.delete.delay.ms", Long(0), "60000"),
    used("log.index.size.max.bytes", Int(4), "10485760"),
    used("log.index.interval.bytes", Int(0), "4096"),
    used("log.flush.interval.messages", Long(1), "9223372036854775807"),
    used_null("log.flush.interval.ms", Long(0)),
    used("log.flush.scheduler.interval.ms", Long(1), "9223372036854775807"),
    used("log.flush.offset.checkpoint.interval.ms", Int(1), "60000"),
    harmless("log.flush.start.offset.checkpoint.interval.ms", Int(1), "60000"),
    harmless("log.initial.task.delay.ms", Long(0), "30000"),
    used("log.preallocate", Bool, "false"),
    used("log.message.timestamp.type", OneOf(TIMESTAMP), "CreateTime"),
    used("log.message.timestamp.before.max.ms", Long(0), "9223372036854775807"),
    used("log.message.timestamp.after.max.ms", Long(0), "3600000"),
    harmless("log.dir.failure.timeout.ms", Long(1), "30000"),
    used("log.cleaner.enable", Bool, "true"),
    used("log.cleaner.threads", Int(0), "1"),
    used("log.cleaner.dedupe.buffer.size", Long(0), "134217728"),
    used("log.cleaner.io.buffer.size", Int(0), "524288"),
    used("log.cleaner.io.buffer.load.factor", Double, "0.9"),
    used("log.cleaner.io.max.bytes.per.second", Double, "1.7976931348623157E308"),
    used("log.cleaner.backoff.ms", Long(0), "15000"),
    used("log.cleaner.min.cleanable.ratio", Double, "0.5"),
    used("log.cleaner.delete.retention.ms", Long(0), "86400000"),
    used("log.cleaner.min.compaction.lag.ms", Long(0), "0"),
    used("log.cleaner.max.compaction.lag.ms", Long(1), "9223372036854775807"),
    refused("log.local.retention.ms", Long(-2), "-2"),
    refused("log.local.retention.bytes", Long(-2), "-2"),
    used("replica.lag.time.max.ms", Long(1), "30000"),
    harmless("num.replica.fetchers", Int(1), "1"),
    harmless("replica.socket.timeout.ms", Int(1), "30000"),
    harmless("replica.socket.receive.buffer.bytes", Int(-1), "65536"),
    used("replica.fetch.max.bytes", Int(0), "1048576"),
    used("replica.fetch.response.max.bytes", Int(0), "10485760"),
    used("replica.fetch.wait.max.ms", Int(0), "500"),
    used("replica.fetch.min.bytes", Int(0), "1"),
    used("replica.fetch.backoff.ms", Int(0), "1000"),
    used("replica.high.watermark.checkpoint.interval.ms", Long(1), "5000"),
    used_null("replica.selector.class", OneOf(SELECTORS)),
    harmless("follower.fetch.last.tiered.offset.enable", Bool, "false"),
    used("fetch.max.bytes", Int(1024), "57671680"),
    used("max.incremental.fetch.session.cache.slots", Int(0), "1000"),
    harmless("fetch.purgatory.purge.interval.requests", Int(0), "1000"),
    harmless("producer.purgatory.purge.interval.requests", Int(0), "1000"),
    harmless("delete.records.purgatory.purge.interval.requests", Int(0), "1"),
    used("producer.id.expiration.ms", Int(1), "86400000"),
    harmless("producer.id.expiration.check.interval.ms", Int(1), "600000"),
    harmless("log.remote.copy.lag.ms", Long(-1), "0"),
    harmless("log.remote.copy.lag.bytes", Long(-1), "-1"),
    refused("remote.log.storage.system.enable", Bool, "false"),
];

/// Groups, offsets, transactions.
const GROUP: &[BrokerKey] = &[
    used("offsets.topic.num.partitions", Int(1), "50"),
    used("offsets.topic.replication.factor", Int(1), "3"),
    used("offsets.topic.segment.bytes", Int(1), "104857600"),
    harmless("offsets.topic.compression.codec", Int(0), "0"),
    harmless("offsets.load.buffer.size", Int(1), "5242880"),
    used("offsets.retention.minutes", Int(1), "10080"),
    used("offsets.retention.check.interval.ms", Long(1), "600000"),
    used("offset.metadata.max.bytes", Int(0), "4096"),
    used("offsets.commit.timeout.ms", Int(1), "5000"),
    used("group.initial.rebalance.delay.ms", Int(0), "3000"),
    used("group.min.session.timeout.ms", Int(0), "6000"),
    used("group.max.session.timeout.ms", Int(0), "1800000"),
    used("group.max.size", Int(1), "2147483647"),
    harmless("group.coordinator.threads", Int(1), "4"),
    harmless("group.coordinator.append.linger.ms", Int(-1), "-1"),
    harmless("group.coordinator.rebalance.protocols", List, "classic,consumer,streams"),
    harmless("group.coordinator.cached.buffer.max.bytes", Int(0), "1048588"),
    harmless("group.coordinator.background.threads", Int(1), "2"),
    used("group.consumer.session.timeout.ms", Int(1), "45000"),
    used("group.consumer.min.session.timeout.ms", Int(1), "45000"),
    used("group.consumer.max.session.timeout.ms", Int(1), "60000"),
    used("group.consumer.heartbeat.interval.ms", Int(1), "5000"),
    used("group.consumer.min.heartbeat.interval.ms", Int(1), "5000"),
    used("group.consumer.max.heartbeat.interval.ms", Int(1), "15000"),
    used("group.consumer.max.size", Int(1), "2147483647"),
    used("group.consumer.assignors", List, "uniform,range"),
    harmless("group.consumer.migration.policy", Text, "bidirectional"),
    harmless("group.consumer.regex.refresh.interval.ms", Int(1), "600000"),
    used("group.consumer.assignment.interval.ms", Int(0), "1000"),
    harmless("group.consumer.min.assignment.interval.ms", Int(0), "0"),
    harmless("group.consumer.max.assignment.interval.ms", Int(0), "15000"),
    harmless("group.share.partition.max.record.locks", Int(1), "2000"),
    harmless("group.share.record.lock.duration.ms", Int(1), "30000"),
    harmless("group.share.delivery.count.limit", Int(1), "5"),
    used("transaction.max.timeout.ms", Int(1), "900000"),
    used("transaction.state.log.num.partitions", Int(1), "50"),
    used("transaction.state.log.replication.factor", Int(1), "3"),
    used("transaction.state.log.min.isr", Int(1), "2"),
    used("transaction.state.log.segment.bytes", Int(1), "104857600"),
    harmless("transaction.state.log.load.buffer.size", Int(1), "5242880"),
    used("transactional.id.expiration.ms", Int(1), "604800000"),
    used("transaction.abort.timed.out.transaction.cleanup.interval.ms", Int(1), "10000"),
    used("transaction.remove.expired.transaction.cleanup.interval.ms", Int(1), "3600000"),
    used("add.partitions.to.txn.retry.backoff.ms", Int(1), "20"),
    used("add.partitions.to.txn.retry.backoff.max.ms", Int(0), "100"),
    used("transaction.partition.verification.enable", Bool, "true"),
    refused("transaction.two.phase.commit.enable", Bool, "false"),
    harmless("share.coordinator.state.topic.num.partitions", Int(1), "50"),
    harmless("share.coordinator.state.topic.replication.factor", Int(1), "3"),
    harmless("share.coordinator.state.topic.min.isr", Int(1), "2"),
];

/// Security: what is not built yet is refused, so that nobody believes to be protected. Keys of TLS
/// and SASL may be set for one listener; see [`scoped`].
const SECURITY: &[BrokerKey] = &[
    used("authorizer.class.name", Text, ""),
    used("super.users", Text, ""),
    used("allow.everyone.if.no.acl.found", Bool, "false"),
    used("sasl.enabled.mechanisms", List, "GSSAPI"),
    // Brokers prove to each other that they have the secret of the cluster.
    harmless("sasl.mechanism.inter.broker.protocol", Text, "GSSAPI"),
    harmless("sasl.mechanism.controller.protocol", Text, "GSSAPI"),
    // Parsing refuses it where it is of no listener.
    used_null("sasl.jaas.config", Password),
    used("sasl.server.max.receive.size", Int(1), "524288"),
    used("connections.max.reauth.ms", Long(0), "0"),
    used("connection.failed.authentication.delay.ms", Int(0), "100"),
    used("ssl.client.auth", OneOf(&["required", "requested", "none"]), "none"),
    used_null("ssl.keystore.location", Text),
    refused_null("ssl.keystore.password", Password),
    used_null("ssl.keystore.key", Password),
    used_null("ssl.keystore.certificate.chain", Password),
    used("ssl.keystore.type", Text, "JKS"),
    refused_null("ssl.key.password", Password),
    used_null("ssl.truststore.location", Text),
    refused_null("ssl.truststore.password", Password),
    used_null("ssl.truststore.certificates", Password),
    used("ssl.truststore.type", Text, "JKS"),
    used("ssl.principal.mapping.rules", Text, "DEFAULT"),
    harmless_null("principal.builder.class", Text),
    used("ssl.endpoint.identification.algorithm", OneOf(&["https", ""]), "https"),
    used("ssl.enabled.protocols", List, "TLSv1.2,TLSv1.3"),
    harmless("ssl.protocol", Text, "TLSv1.3"),
    refused_null("delegation.token.secret.key", Password),
    harmless("delegation.token.max.lifetime.ms", Long(1), "604800000"),
    harmless("delegation.token.expiry.time.ms", Long(1), "86400000"),
    harmless("delegation.token.expiry.check.interval.ms", Long(1), "3600000"),
];

/// Our own.
const OWN: &[BrokerKey] = &[
    // `host:port` of /metrics, /healthz and /readyz; empty switches the listener off.
    used("barnabas.http.listener", Text, ""),
    // How many committed positions have a series in /metrics. The names of groups are anybody's; a
    // gauge tells how many are left out.
    used("barnabas.metrics.lag.series.max", Int(0), "10000"),
    // Threads of the data plane; 0 takes one per core, at least two.
    used("barnabas.worker.threads", Int(0), "0"),
    // The one number that bounds the memory of requests and replies: reading from sockets stops
    // beyond it. A quarter is for what is not records.
    used("barnabas.request.memory.bytes", Long(1_048_576), "268435456"),
    // What the members of all groups coordinated by a broker may take; beyond it none joins.
    used("barnabas.group.memory.bytes", Long(1_048_576), "67108864"),
    // How long the controller waits for a broken broker session to come back before it fences.
    used("barnabas.session.grace.ms", Int(0), "100"),
    // Silence after which a broker with an open session is fenced.
    used("barnabas.session.silence.ms", Int(50), "1000"),
    // Heartbeats from broker to active controller.
    used("barnabas.heartbeat.interval.ms", Int(10), "200"),
    // How long an answer that would name a leader or coordinator whose process ended waits for the
    // election; 0 says LEADER_NOT_AVAILABLE at once.
    used("barnabas.suspect.wait.ms", Int(0), "300"),
    // Raft leader's heartbeats to its peers.
    used("barnabas.quorum.heartbeat.ms", Int(10), "50"),
    // Raft election timeout; each follower waits between this and twice this.
    used("barnabas.quorum.election.timeout.ms", Int(50), "300"),
    // Whether a broker with an empty disk may begin a new cluster, as one of the first voters; with
    // false it waits until it can join the existing one.
    used("barnabas.quorum.begin", Bool, "true"),
    // Room that records of clients leave free on the volume of each log directory, at most a
    // twentieth of it. It is for metadata, checkpoints and, to a half, for the broker's own topics.
    used("barnabas.log.dir.reserve.bytes", Long(0), "134217728"),
    // The file with the secret that the brokers of a cluster share; empty: the broker makes one in
    // its metadata directory.
    used("barnabas.internal.secret.file", Password, ""),
    // Whether other brokers have to prove that they have the secret.
    used("barnabas.internal.secret.required", Bool, "true"),
    // The id of the cluster, as `kafka-storage format --cluster-id` would write it.
    used("barnabas.cluster.id", Text, ""),
];

/// All keys.
pub fn broker_keys() -> impl Iterator<Item = &'static BrokerKey> {
    [SERVER, LOG, GROUP, SECURITY, OWN].into_iter().chain(UNBUILT).flatten()
}

/// What is known of a key of the broker's configuration; `None`: a broker refuses to start with it.
pub fn broker_key(name: &str) -> Option<&'static BrokerKey> {
    let name = scoped(name).map_or(name, |scoped| scoped.key);
    broker_keys().find(|key| key.name == name)
}

/// A key for one listener, and perhaps for one mechanism of SASL on it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Scoped<'a> {
    /// In lower case, as Kafka has it in keys.
    pub listener: &'a str,
    pub mechanism: Option<&'a str>,
    pub key: &'a str,
}

/// Reads `listener.name.LISTENER.KEY` and `listener.name.LISTENER.MECHANISM.KEY`; `None` for what
/// is none, or is a key that stands for all listeners.
pub fn scoped(name: &str) -> Option<Scoped<'_>> {
    let (listener, rest) = name.strip_prefix("listener.name.")?.split_once('.')?;
    if rest.starts_with("ssl.") || rest.starts_with("sasl.") || OF_LISTENERS.contains(&rest) {
        return Some(Scoped { listener, mechanism: None, key: rest });
    }
    let (mechanism, key) = rest.split_once('.')?;
    let is_known = OF_MECHANISMS.contains(&key);
    is_known.then_some(Scoped { listener, mechanism: Some(mechanism), key })
}

/// Keys that may be set for one listener, beside those of TLS and SASL.
const OF_LISTENERS: &[&str] = &["connections.max.reauth.ms", "principal.builder.class"];
/// Keys that may be set for one mechanism of a listener.
const OF_MECHANISMS: &[&str] = &["sasl.jaas.config", "connections.max.reauth.ms"];

/// Whether Kafka does not describe the key unless it is set.
pub fn is_internal_broker_key(name: &str) -> bool {
    INTERNAL.iter().any(|key| key.name == name)
}

/// Whether an unknown key belongs to somebody else: no known key begins with its first word, and
/// none is so like it that it may be meant. Plug-ins of Kafka's keep their keys in its files.
pub fn is_foreign_key(name: &str) -> bool {
    let first = |name: &'static str| name.split_once('.').map_or(name, |(first, _)| first);
    let own = name.split_once('.').map_or(name, |(first, _)| first);
    nearest_broker_key(name).is_none() && !broker_keys().any(|key| first(key.name) == own)
}

/// The known key that an unknown one is at most two edits away from, for the error message.
pub fn nearest_broker_key(name: &str) -> Option<&'static str> {
    broker_keys()
        .map(|key| (distance(name, key.name), key.name))
        .filter(|&(edits, _)| edits <= 2)
        .min()
        .map(|(_, name)| name)
}

fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.bytes().enumerate() {
            let replaced = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}
