//! From checked texts to `Config`. Every failure names the key.

use std::collections::BTreeMap;
use std::net::{Ipv6Addr, SocketAddr, ToSocketAddrs};
use std::path::PathBuf;

use base::BrokerId;
use metadata::config::{
    BrokerKey, KeyError, RACK_AWARE_SELECTOR, Support, broker_key, gone_broker_key, is_foreign_key,
    nearest_broker_key,
};
use metadata::heartbeat_interval_ms_max;

use super::Config;
use super::error::ConfigError;
use super::listener::{Voter, parse_host_port, parse_voters};
use super::listeners::Listeners;
use super::sections::{
    Assignor, CleanerConfig, ConsumerGroupConfig, GroupConfig, LogConfig, NetConfig, OffsetsConfig,
    QuorumConfig, QuotaConfig, ReplicaConfig, SecretConfig, SessionConfig, TopicConfig,
    TransactionConfig,
};
use super::security;
use super::values::{Values, shown};

const MINUTE_MS: i64 = 60_000;
/// The least silence that says anything: five of the shortest heartbeat intervals.
const SILENCE_MS_MIN: i64 = 50;

pub(super) fn config(mut properties: BTreeMap<String, String>) -> Result<Config, ConfigError> {
    let Checked { without_effect, ignored } = check(&properties)?;
    settle_id(&mut properties)?;
    let values = Values(properties);
    let listeners = Listeners::parse(&values)?;
    let security = security::parse(&values, &listeners)?;
    let log_dirs = values.log_dirs()?;
    let broker_id = BrokerId(values.required("node.id", "the id of this broker, 0 or more")?);
    let voters = parse_voters(&values.list("controller.quorum.voters"))
        .map_err(|problem| values.invalid("controller.quorum.voters", problem))?;
    let is_controller = values.is_controller(broker_id, &voters)?;
    let secret = values.secret(broker_id, &voters)?;
    let own = voters.iter().find(|voter| voter.id == broker_id);
    let controller_advertised = listeners.controller_address(own);
    values.check_bootstrap(&voters, &controller_advertised)?;
    Ok(Config {
        broker_id,
        is_controller,
        security,
        listeners: listeners.clients,
        advertised: listeners.advertised,
        inter_broker_listener: listeners.inter_broker,
        controller_listener: listeners.controller,
        controller_advertised,
        voters,
        cluster_id: values.text("barnabas.cluster.id").filter(|id| !id.is_empty()),
        rack: values.text("broker.rack").filter(|rack| !rack.is_empty()),
        metadata_log_dir: values
            .text("metadata.log.dir")
            .map_or_else(|| log_dirs[0].clone(), PathBuf::from),
        log_dirs,
        controlled_shutdown: values.get("controlled.shutdown.enable")?,
        worker_threads: values.worker_threads()?,
        http_listener: values.http_listener()?,
        lag_series_max: values.get("barnabas.metrics.lag.series.max")?,
        net: values.net()?,
        quotas: QuotaConfig {
            samples: values.get("quota.window.num")?,
            sample_seconds: values.get("quota.window.size.seconds")?,
            controller_samples: values.get("controller.quota.window.num")?,
            controller_sample_seconds: values.get("controller.quota.window.size.seconds")?,
        },
        log: values.log()?,
        topic: values.topic()?,
        replica: values.replica()?,
        group: values.group()?,
        offsets: values.offsets()?,
        transactions: values.transactions()?,
        session: values.session()?,
        quorum: QuorumConfig {
            heartbeat_ms: values.get("barnabas.quorum.heartbeat.ms")?,
            may_begin: values.get("barnabas.quorum.begin")?,
            election_timeout_ms: values.get("barnabas.quorum.election.timeout.ms")?,
        },
        secret,
        authorizer: values.authorizer()?,
        explicit: std::sync::Arc::new(values.0),
        without_effect,
        ignored,
    })
}

/// What is there to warn of.
#[derive(Default)]
struct Checked {
    without_effect: Vec<String>,
    ignored: Vec<(String, String)>,
}

/// Checks keys and values.
fn check(properties: &BTreeMap<String, String>) -> Result<Checked, ConfigError> {
    let mut checked = Checked::default();
    for (name, value) in properties {
        if let Some(why) = reason_to_ignore(name) {
            checked.ignored.push((name.clone(), why));
            continue;
        }
        let key = check_key(name, value)?;
        if key.support == Support::Harmless {
            checked.without_effect.push(name.clone());
        }
    }
    Ok(checked)
}

/// Why a key that is none of ours is no misspelling either: files outlive the releases that they
/// were written for, and plug-ins keep their keys in them.
fn reason_to_ignore(name: &str) -> Option<String> {
    if broker_key(name).is_some() {
        return None;
    }
    if let Some(since) = gone_broker_key(name) {
        return Some(format!("Kafka has not had it since version {since}"));
    }
    is_foreign_key(name).then(|| "no key of Kafka begins like this".to_owned())
}

/// The id goes by two names. Whichever is there counts, and two must agree.
fn settle_id(properties: &mut BTreeMap<String, String>) -> Result<(), ConfigError> {
    let older = properties.get("broker.id").filter(|id| *id != "-1").cloned();
    let Some(older) = older else { return Ok(()) };
    let id = properties.entry("node.id".to_owned()).or_insert_with(|| older.clone());
    if id.parse::<i32>().ok() == older.parse().ok() {
        return Ok(());
    }
    let problem = format!("must be the same as node.id, which is {id}");
    Err(ConfigError::Invalid { key: "broker.id".to_owned(), value: older, problem })
}

pub(super) fn check_key(name: &str, value: &str) -> Result<&'static BrokerKey, ConfigError> {
    let owned = str::to_owned;
    let Some(key) = broker_key(name) else {
        let suggestion = nearest_broker_key(name).map(owned);
        return Err(ConfigError::Unknown { key: owned(name), suggestion });
    };
    let (key_name, value_text) = (owned(name), shown(name, value));
    match key.validate(value) {
        Ok(()) => Ok(key),
        Err(KeyError::Invalid(problem)) => {
            Err(ConfigError::Invalid { key: key_name, value: value_text, problem })
        }
        Err(KeyError::Unsupported { default }) => {
            Err(ConfigError::Unsupported { key: key_name, value: value_text, default })
        }
    }
}

impl Values {
    /// A list of controllers tells no ids, so it cannot stand for `controller.quorum.voters`: each
    /// broker would begin a cluster of its own. Alone, as in Kafka's sample file, one may name
    /// itself.
    fn check_bootstrap(
        &self,
        voters: &[super::Voter],
        own: &super::Endpoint,
    ) -> Result<(), ConfigError> {
        const KEY: &str = "controller.quorum.bootstrap.servers";
        for server in self.list(KEY) {
            let (host, port) = parse_host_port(&server).map_err(|e| self.invalid(KEY, e))?;
            let is_local = host == own.host || host == "localhost" || host == "127.0.0.1";
            if voters.is_empty() && !(is_local && port == own.port) {
                let problem = format!(
                    "{server} is another controller: name all of them, with their ids, in \
                     controller.quorum.voters"
                );
                return Err(self.invalid(KEY, problem));
            }
        }
        Ok(())
    }

    /// Brokers that know of each other and each made a secret of its own would never talk.
    fn secret(&self, own: BrokerId, voters: &[Voter]) -> Result<SecretConfig, ConfigError> {
        const KEY: &str = "barnabas.internal.secret.file";
        let file = self.text(KEY).filter(|file| !file.is_empty()).map(PathBuf::from);
        let required = self.get("barnabas.internal.secret.required")?;
        let alone = voters.iter().all(|voter| voter.id == own);
        if required && !alone && file.is_none() {
            let problem = "brokers that form a cluster prove to each other that they belong to it: \
                           write some random text to a file (head -c 32 /dev/urandom | base64), \
                           give the same one to every broker, and name it here; or set \
                           barnabas.internal.secret.required=false, with which everybody who \
                           reaches the controller listener can change the cluster";
            return Err(ConfigError::Missing { key: KEY.to_owned(), problem: problem.to_owned() });
        }
        Ok(SecretConfig { file, required })
    }

    fn log_dirs(&self) -> Result<Vec<PathBuf>, ConfigError> {
        let name = if self.0.contains_key("log.dirs") { "log.dirs" } else { "log.dir" };
        let dirs: Vec<PathBuf> = self.list(name).into_iter().map(PathBuf::from).collect();
        if dirs.is_empty() {
            return Err(self.invalid(name, "needs at least one directory".to_owned()));
        }
        Ok(dirs)
    }

    fn is_controller(&self, id: BrokerId, voters: &[super::Voter]) -> Result<bool, ConfigError> {
        let name = "process.roles";
        let roles = self.list(name);
        if let Some(role) =
            roles.iter().find(|role| !["broker", "controller"].contains(&role.as_str()))
        {
            return Err(self.invalid(name, format!("unknown role {role}")));
        }
        if !roles.iter().any(|role| role == "broker") {
            let problem = "every node is a broker: use broker or broker,controller";
            return Err(self.invalid(name, problem.to_owned()));
        }
        let is_controller = roles.iter().any(|role| role == "controller");
        let is_voter = voters.iter().any(|voter| voter.id == id);
        if is_voter && !is_controller {
            let problem = format!("node {id} is a voter and needs the controller role");
            return Err(self.invalid("controller.quorum.voters", problem));
        }
        Ok(is_controller)
    }

    fn worker_threads(&self) -> Result<usize, ConfigError> {
        let set: usize = self.get("barnabas.worker.threads")?;
        let cores = std::thread::available_parallelism().map_or(2, usize::from);
        Ok(if set == 0 { cores.max(2) } else { set })
    }

    fn http_listener(&self) -> Result<Option<SocketAddr>, ConfigError> {
        let name = "barnabas.http.listener";
        let text = self.text(name).unwrap_or_default();
        if text.is_empty() {
            return Ok(None);
        }
        let (host, port) = parse_host_port(&text).map_err(|p| self.invalid(name, p))?;
        if host.is_empty() {
            return Ok(Some((Ipv6Addr::UNSPECIFIED, port).into()));
        }
        let mut addresses = (host.as_str(), port)
            .to_socket_addrs()
            .map_err(|e| self.invalid(name, e.to_string()))?;
        Ok(addresses.next())
    }

    fn net(&self) -> Result<NetConfig, ConfigError> {
        let size = |bytes: i64| usize::try_from(bytes).ok().filter(|&bytes| bytes > 0);
        let idle_ms: i64 = self.get("connections.max.idle.ms")?;
        Ok(NetConfig {
            request_bytes_max: self.get("socket.request.max.bytes")?,
            suspect_wait_ms: self.get("barnabas.suspect.wait.ms")?,
            request_memory_bytes: self.get("barnabas.request.memory.bytes")?,
            send_buffer_bytes: size(self.get("socket.send.buffer.bytes")?),
            receive_buffer_bytes: size(self.get("socket.receive.buffer.bytes")?),
            listen_backlog: self.get("socket.listen.backlog.size")?,
            idle_ms_max: u64::try_from(idle_ms).ok(),
            connections_max: self.get("max.connections")?,
            failed_auth_delay_ms: self.get("connection.failed.authentication.delay.ms")?,
            connections_per_ip_max: self.get("max.connections.per.ip")?,
            partitions_per_request_max: self.get("max.request.partition.size.limit")?,
            io_threads: self.get("num.io.threads")?,
        })
    }

    fn log(&self) -> Result<LogConfig, ConfigError> {
        Ok(LogConfig {
            retention_check_interval_ms: self.get("log.retention.check.interval.ms")?,
            delete_delay_ms: self.get("log.segment.delete.delay.ms")?,
            flush_checkpoint_interval_ms: self.get("log.flush.offset.checkpoint.interval.ms")?,
            recovery_threads: self.get("num.recovery.threads.per.data.dir")?,
            producer_id_expiration_ms: self.get("producer.id.expiration.ms")?,
            transaction_verification: self.get("transaction.partition.verification.enable")?,
            transaction_retry_ms: self.get("add.partitions.to.txn.retry.backoff.ms")?,
            transaction_retry_ms_max: self.get("add.partitions.to.txn.retry.backoff.max.ms")?,
            reserve_bytes: self.get("barnabas.log.dir.reserve.bytes")?,
            cleaner: CleanerConfig {
                enable: self.get("log.cleaner.enable")?,
                threads: self.get("log.cleaner.threads")?,
                dedupe_bytes: self.get("log.cleaner.dedupe.buffer.size")?,
                load_factor: self.get("log.cleaner.io.buffer.load.factor")?,
                io_bytes: self.get("log.cleaner.io.buffer.size")?,
                io_bytes_per_second_max: self.get("log.cleaner.io.max.bytes.per.second")?,
                backoff_ms: self.get("log.cleaner.backoff.ms")?,
            },
        })
    }

    fn topic(&self) -> Result<TopicConfig, ConfigError> {
        let imbalance_secs: u64 = self.get("leader.imbalance.check.interval.seconds")?;
        Ok(TopicConfig {
            num_partitions: self.get("num.partitions")?,
            replication_factor: self.get("default.replication.factor")?,
            unclean_leader_election: self.get("unclean.leader.election.enable")?,
            auto_create: self.get("auto.create.topics.enable")?,
            delete_enable: self.get("delete.topic.enable")?,
            auto_leader_rebalance: self.get("auto.leader.rebalance.enable")?,
            imbalance_check_ms: imbalance_secs.saturating_mul(1000),
        })
    }

    fn replica(&self) -> Result<ReplicaConfig, ConfigError> {
        Ok(ReplicaConfig {
            lag_time_ms_max: self.get("replica.lag.time.max.ms")?,
            fetch_bytes_max: self.get("replica.fetch.max.bytes")?,
            fetch_response_bytes_max: self.get("replica.fetch.response.max.bytes")?,
            fetch_wait_ms_max: self.get("replica.fetch.wait.max.ms")?,
            fetch_bytes_min: self.get("replica.fetch.min.bytes")?,
            fetch_backoff_ms: self.get("replica.fetch.backoff.ms")?,
            hw_checkpoint_interval_ms: self.get("replica.high.watermark.checkpoint.interval.ms")?,
            consumer_fetch_bytes_max: self.get("fetch.max.bytes")?,
            fetch_sessions_max: self.get("max.incremental.fetch.session.cache.slots")?,
            rack_aware_reads: self
                .text("replica.selector.class")
                .is_some_and(|class| class == RACK_AWARE_SELECTOR),
        })
    }

    fn group(&self) -> Result<GroupConfig, ConfigError> {
        Ok(GroupConfig {
            initial_rebalance_delay_ms: self.get("group.initial.rebalance.delay.ms")?,
            session_timeout_ms_min: self.get("group.min.session.timeout.ms")?,
            session_timeout_ms_max: self.get("group.max.session.timeout.ms")?,
            size_max: self.get("group.max.size")?,
            memory_bytes: self.get("barnabas.group.memory.bytes")?,
            consumer: self.consumer_group()?,
        })
    }

    fn consumer_group(&self) -> Result<ConsumerGroupConfig, ConfigError> {
        let limits = |what: &str| -> Result<(i32, i32, i32), ConfigError> {
            Ok((
                self.get(&format!("group.consumer.{what}"))?,
                self.get(&format!("group.consumer.min.{what}"))?,
                self.get(&format!("group.consumer.max.{what}"))?,
            ))
        };
        let (session, session_min, session_max) = limits("session.timeout.ms")?;
        let (heartbeat, heartbeat_min, heartbeat_max) = limits("heartbeat.interval.ms")?;
        for (key, value, min, max) in [
            ("group.consumer.session.timeout.ms", session, session_min, session_max),
            ("group.consumer.heartbeat.interval.ms", heartbeat, heartbeat_min, heartbeat_max),
        ] {
            if !(min <= value && value <= max) {
                return Err(self.invalid(key, format!("must be between {min} and {max}")));
            }
        }
        if heartbeat >= session {
            let problem = format!("must be less than the session timeout of {session}");
            return Err(self.invalid("group.consumer.heartbeat.interval.ms", problem));
        }
        Ok(ConsumerGroupConfig {
            session_timeout_ms: session,
            session_timeout_ms_min: session_min,
            session_timeout_ms_max: session_max,
            heartbeat_interval_ms: heartbeat,
            heartbeat_interval_ms_min: heartbeat_min,
            heartbeat_interval_ms_max: heartbeat_max,
            assignment_interval_ms: self.get("group.consumer.assignment.interval.ms")?,
            size_max: self.get("group.consumer.max.size")?,
            assignors: self.assignors()?,
        })
    }

    /// By their names, or by the classes that Kafka has for them.
    fn assignors(&self) -> Result<Vec<Assignor>, ConfigError> {
        let name = "group.consumer.assignors";
        let package = "org.apache.kafka.coordinator.group.assignor.";
        let mut assignors = Vec::new();
        for asked in self.list(name) {
            let assignor = match asked.strip_prefix(package).unwrap_or(&asked) {
                "uniform" | "UniformAssignor" => Assignor::Uniform,
                "range" | "RangeAssignor" => Assignor::Range,
                _ => {
                    let problem = format!("knows uniform and range, not {asked}");
                    return Err(self.invalid(name, problem));
                }
            };
            if !assignors.contains(&assignor) {
                assignors.push(assignor);
            }
        }
        match assignors.is_empty() {
            true => Err(self.invalid(name, "needs at least one assignor".to_owned())),
            false => Ok(assignors),
        }
    }

    fn offsets(&self) -> Result<OffsetsConfig, ConfigError> {
        let retention: i64 = self.get("offsets.retention.minutes")?;
        Ok(OffsetsConfig {
            num_partitions: self.get("offsets.topic.num.partitions")?,
            replication_factor: self.get("offsets.topic.replication.factor")?,
            segment_bytes: self.get("offsets.topic.segment.bytes")?,
            retention_ms: retention.saturating_mul(MINUTE_MS),
            retention_check_interval_ms: self.get("offsets.retention.check.interval.ms")?,
            metadata_bytes_max: self.get("offset.metadata.max.bytes")?,
            commit_timeout_ms: self.get("offsets.commit.timeout.ms")?,
        })
    }

    fn transactions(&self) -> Result<TransactionConfig, ConfigError> {
        let abort = "transaction.abort.timed.out.transaction.cleanup.interval.ms";
        let expiry = "transaction.remove.expired.transaction.cleanup.interval.ms";
        Ok(TransactionConfig {
            num_partitions: self.get("transaction.state.log.num.partitions")?,
            replication_factor: self.get("transaction.state.log.replication.factor")?,
            min_isr: self.get("transaction.state.log.min.isr")?,
            segment_bytes: self.get("transaction.state.log.segment.bytes")?,
            timeout_ms_max: self.get("transaction.max.timeout.ms")?,
            id_expiration_ms: self.get("transactional.id.expiration.ms")?,
            abort_check_interval_ms: self.get(abort)?,
            expiry_check_interval_ms: self.get(expiry)?,
        })
    }

    /// Kafka's own keys win if set; its defaults (2 s and 9 s) would only slow failover down. A
    /// heartbeat interval that does not fit the silence limit is shortened, not refused: Kafka's
    /// own default is longer than our limit.
    fn session(&self) -> Result<SessionConfig, ConfigError> {
        let is_set = |name: &str| self.0.contains_key(name);
        let either = |kafkas, ours| if is_set(kafkas) { kafkas } else { ours };
        let silence = either("broker.session.timeout.ms", "barnabas.session.silence.ms");
        let silence_ms: i64 = self.get(silence)?;
        if silence_ms < SILENCE_MS_MIN {
            let problem = format!("no broker is heard so often: needs {SILENCE_MS_MIN} or more");
            return Err(self.invalid(silence, problem));
        }
        let grace = "barnabas.session.grace.ms";
        let grace_ms: i64 = self.get(grace)?;
        if is_set(grace) && grace_ms > silence_ms {
            let problem = format!("never takes effect beyond {silence} ({silence_ms})");
            return Err(self.invalid(grace, problem));
        }
        let heartbeat = either("broker.heartbeat.interval.ms", "barnabas.heartbeat.interval.ms");
        let heartbeat_ms: u64 = self.get(heartbeat)?;
        let heartbeat_interval_ms = heartbeat_ms.min(heartbeat_interval_ms_max(silence_ms));
        Ok(SessionConfig { heartbeat_interval_ms, grace_ms, silence_ms })
    }
}
