//! Rules of access, beside Apache Kafka 4.4.0 with its `StandardAuthorizer`: both get the same
//! rules and the same requests, and have to answer with the same codes and names. Nobody
//! authenticates: rules tell clients apart by the address that they come from.

mod principals;
mod probes;
mod shape;

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use e2e::clients::{tool, tool_ok};
use e2e::config::Target;
use e2e::raw::Raw;
use e2e::{Cluster, ClusterConfig, wait, with_cluster};
use probes::{Asker, PROBES, Probe};
use wire::messages::create_acls_request::AclCreation;
use wire::messages::delete_acls_request::DeleteAclsFilter;
use wire::messages::metadata_request::MetadataRequestTopic;
use wire::messages::*;

const ACLS: &str = "org.apache.kafka.tools.AclCommand";
const AUTHORIZER: &str = "org.apache.kafka.metadata.authorizer.StandardAuthorizer";
const SOON: Duration = Duration::from_secs(30);
/// Brokers speak to each other from here; the two others are clients.
const BROKERS: &str = "127.0.0.1";
const ADMIN: &str = "127.0.0.2";
const CLIENT: &str = "127.0.0.3";

const TOPIC: i8 = 2;
const GROUP: i8 = 3;
const CLUSTER: i8 = 4;
const TRANSACTIONAL_ID: i8 = 5;
const LITERAL: i8 = 3;
const PREFIXED: i8 = 4;
const DENY: i8 = 2;
const ALLOW: i8 = 3;
const ALL: i8 = 2;
const READ: i8 = 3;
const DESCRIBE: i8 = 8;
/// `ANY` in filters.
const ANY: i8 = 1;

#[derive(Clone, Debug)]
struct Rule {
    resource: (i8, i8, &'static str),
    host: &'static str,
    operation: i8,
    permission: i8,
}

impl Rule {
    fn creation(&self) -> AclCreation {
        let (resource_type, resource_pattern_type, name) = self.resource;
        AclCreation {
            resource_type,
            resource_name: name.into(),
            resource_pattern_type,
            principal: "User:ANONYMOUS".into(),
            host: self.host.into(),
            operation: self.operation,
            permission_type: self.permission,
        }
    }
}

fn allow(resource: (i8, i8, &'static str), operation: i8) -> Rule {
    Rule { resource, host: CLIENT, operation, permission: ALLOW }
}

/// A cluster of one broker, an administrator and a client of it.
struct Peer {
    admin: Raw,
    asker: Asker,
    rules: usize,
}

impl Peer {
    fn new(cluster: &Cluster) -> Result<Peer> {
        let admin = cluster.admin()?;
        for topic in ["t", "hidden"] {
            admin.create_topic(topic, 1, 1, &[])?;
        }
        let address = cluster.address(1);
        let mut admin = Raw::connect_from(ADMIN, &address)?;
        for (key, key_type) in [("g", 0), ("x", 1)] {
            let coordinator_keys = vec![key.into()];
            let find = FindCoordinatorRequest { key_type, coordinator_keys, ..Default::default() };
            wait::until("a coordinator", SOON, || {
                let found = admin.call(&find, 4, SOON)?;
                Ok((found.coordinators[0].error_code == 0).then_some(()))
            })?;
        }
        let named =
            |name: &str| MetadataRequestTopic { name: Some(name.into()), ..Default::default() };
        let topics = Some(["t", "hidden"].map(named).into());
        let told = admin.call(&MetadataRequest { topics, ..Default::default() }, 12, SOON)?;
        let id = |name: &str| {
            let topic = told.topics.iter().find(|t| t.name.as_deref() == Some(name));
            topic.map(|topic| topic.topic_id).context("the id of a topic")
        };
        let ids = [id("t")?, id("hidden")?];
        let raw = Raw::connect_from(CLIENT, &address)?;
        let mut peer = Peer { admin, asker: Asker { raw, address, ids }, rules: 0 };
        peer.close()?;
        Ok(peer)
    }

    /// Everything for brokers and the administrator, nothing for the client.
    fn close(&mut self) -> Result<()> {
        let types =
            [(TOPIC, "*"), (GROUP, "*"), (CLUSTER, "kafka-cluster"), (TRANSACTIONAL_ID, "*")];
        let rule = |host, (kind, name)| Rule {
            resource: (kind, LITERAL, name),
            host,
            operation: ALL,
            permission: ALLOW,
        };
        let rules = [BROKERS, ADMIN].into_iter().flat_map(|h| types.map(|kind| rule(h, kind)));
        self.add(&rules.collect::<Vec<_>>())
    }

    fn add(&mut self, rules: &[Rule]) -> Result<()> {
        let creations = rules.iter().map(Rule::creation).collect();
        let created = self.admin.call(&CreateAclsRequest { creations }, 3, SOON)?;
        ensure!(created.results.iter().all(|r| r.error_code == 0), "{created:?}");
        self.rules += rules.len();
        self.wait_for_rules()
    }

    /// Removes the rules beside those of `close`.
    fn clear(&mut self) -> Result<()> {
        let kept = [BROKERS, ADMIN];
        let hosts: BTreeSet<String> = self.describe()?.into_iter().map(|(host, _)| host).collect();
        let filter = |host: &String| DeleteAclsFilter {
            resource_type_filter: ANY,
            resource_name_filter: None,
            pattern_type_filter: ANY,
            principal_filter: None,
            host_filter: Some(host.as_str().into()),
            operation: ANY,
            permission_type: ANY,
        };
        let filters = hosts.iter().filter(|host| !kept.contains(&host.as_str())).map(filter);
        let filters: Vec<DeleteAclsFilter> = filters.collect();
        let deleted = self.admin.call(&DeleteAclsRequest { filters }, 3, SOON)?;
        ensure!(deleted.filter_results.iter().all(|r| r.error_code == 0), "{deleted:?}");
        let gone: usize = deleted.filter_results.iter().map(|r| r.matching_acls.len()).sum();
        self.rules -= gone;
        self.wait_for_rules()
    }

    /// Hosts and operations of all rules.
    fn describe(&mut self) -> Result<Vec<(String, i8)>> {
        let all = DescribeAclsRequest {
            resource_type_filter: ANY,
            resource_name_filter: None,
            pattern_type_filter: ANY,
            principal_filter: None,
            host_filter: None,
            operation: ANY,
            permission_type: ANY,
        };
        let told = self.admin.call(&all, 3, SOON)?;
        ensure!(told.error_code == 0, "{told:?}");
        let acls = told.resources.iter().flat_map(|resource| &resource.acls);
        Ok(acls.map(|acl| (acl.host.to_string(), acl.operation)).collect())
    }

    /// What a probe hears. Where it hears nothing, the next one asks over a new connection.
    fn probe(&mut self, probe: Probe) -> Result<String> {
        let said = probe(&mut self.asker);
        if said.is_err() {
            self.asker.raw = Raw::connect_from(CLIENT, &self.asker.address)?;
        }
        Ok(said.unwrap_or_else(|error| format!("{error:#}")))
    }

    fn wait_for_rules(&mut self) -> Result<()> {
        let deadline = std::time::Instant::now() + SOON;
        while self.describe()?.len() != self.rules {
            ensure!(std::time::Instant::now() < deadline, "the rules do not come");
        }
        Ok(())
    }
}

/// Both, and what they said differently.
struct Pair {
    ours: Peer,
    theirs: Peer,
    asked: usize,
    differences: Vec<String>,
}

impl Pair {
    fn compare(&mut self, rules: &[Rule], probes: &[(&str, Probe)]) -> Result<()> {
        for peer in [&mut self.ours, &mut self.theirs] {
            peer.add(rules)?;
        }
        for (what, probe) in probes {
            let ours = self.ours.probe(*probe)?;
            let theirs = self.theirs.probe(*probe)?;
            self.asked += 1;
            if ours != theirs {
                let rules: Vec<_> =
                    rules.iter().map(|r| (r.resource, r.host, r.operation, r.permission)).collect();
                self.differences
                    .push(format!("{what} {rules:?}\n  ours   {ours}\n  theirs {theirs}"));
            }
        }
        for peer in [&mut self.ours, &mut self.theirs] {
            peer.clear()?;
        }
        Ok(())
    }
}

fn config(target: Target) -> ClusterConfig {
    let mut config = ClusterConfig::new(1)
        .set("authorizer.class.name", AUTHORIZER)
        .set("allow.everyone.if.no.acl.found", true)
        .set("auto.create.topics.enable", true)
        .set("offsets.topic.num.partitions", 1)
        .set("offsets.topic.replication.factor", 1)
        .set("transaction.state.log.num.partitions", 1)
        .set("transaction.state.log.min.isr", 1);
    config.target = target;
    config
}

/// Each operation on each kind of resource, alone and taken out of all; then patterns and hosts.
fn tables() -> (Vec<Vec<Rule>>, Vec<Vec<Rule>>) {
    let resources = [
        (TOPIC, PREFIXED, "t"),
        (GROUP, LITERAL, "g"),
        (CLUSTER, LITERAL, "kafka-cluster"),
        (TRANSACTIONAL_ID, LITERAL, "x"),
    ];
    let mut operations = vec![Vec::new()];
    for resource in resources {
        for operation in ALL..=15 {
            operations.push(vec![allow(resource, operation)]);
            let denied = Rule { permission: DENY, ..allow(resource, operation) };
            operations.push(vec![allow(resource, ALL), denied]);
        }
    }
    let everything: Vec<Rule> = resources.iter().map(|resource| allow(*resource, ALL)).collect();
    operations.push(everything);
    let mut patterns = Vec::new();
    let names =
        [(LITERAL, "t"), (LITERAL, "*"), (PREFIXED, "t"), (PREFIXED, "tx"), (PREFIXED, "*")];
    for (pattern, name) in names {
        for host in ["*", CLIENT, "127.0.0.0/8", "127.0.0.4", "10.0.0.0/8"] {
            for operation in [READ, DESCRIBE, ALL] {
                let rule = Rule { host, ..allow((TOPIC, pattern, name), operation) };
                let denied = Rule { permission: DENY, ..rule.clone() };
                patterns.push(vec![rule]);
                patterns.push(vec![allow((TOPIC, PREFIXED, "t"), READ), denied]);
            }
        }
    }
    (operations, patterns)
}

#[test]
fn every_right_is_the_one_that_kafka_gives() {
    with_cluster(config(Target::Barnabas), |ours| {
        let theirs = Cluster::start(config(Target::Apache))?;
        let (ours, theirs) = (Peer::new(ours)?, Peer::new(&theirs).map(|peer| (theirs, peer))?);
        let (_running, theirs) = theirs;
        let mut pair = Pair { ours, theirs, asked: 0, differences: Vec::new() };
        let (operations, patterns) = tables();
        for rules in operations {
            pair.compare(&rules, PROBES)?;
        }
        let probe: &[(&str, Probe)] = &[("ListOffsets", probes::list_offsets_of_t)];
        for rules in patterns {
            pair.compare(&rules, probe)?;
        }
        println!("{} answers of each", pair.asked);
        let count = pair.differences.len();
        ensure!(count == 0, "{count} differences:\n{}", pair.differences.join("\n"));
        Ok(())
    });
}

#[test]
fn the_official_tool_adds_lists_and_removes_rules() {
    let config = ClusterConfig::new(1)
        .set("authorizer.class.name", AUTHORIZER)
        .set("super.users", "User:ANONYMOUS");
    with_cluster(config, |cluster| {
        let at = cluster.bootstrap();
        let acls =
            |args: &[&str]| tool_ok(ACLS, &[&["--bootstrap-server", &at], args].concat(), "");
        let producer = ["--add", "--allow-principal", "User:alice", "--producer", "--topic", "a"];
        acls(&producer)?;
        let prefixed = ["--resource-pattern-type", "prefixed", "--topic", "b", "--group", "g"];
        acls(&[&["--add", "--allow-principal", "User:bob", "--consumer"], &prefixed[..]].concat())?;
        acls(&[
            "--add",
            "--deny-principal",
            "User:*",
            "--deny-host",
            "10.0.0.0/8",
            "--operation",
            "All",
            "--cluster",
        ])?;
        let listed = acls(&["--list"])?;
        for expected in ["User:alice", "User:bob", "10.0.0.0/8", "kafka-cluster", "PREFIXED"] {
            ensure!(listed.contains(expected), "{expected} is not in {listed}");
        }
        let of_bob = acls(&["--list", "--principal", "User:bob"])?;
        ensure!(of_bob.contains("User:bob") && !of_bob.contains("User:alice"), "{of_bob}");
        acls(&["--remove", "--force", "--topic", "a"])?;
        let listed = acls(&["--list"])?;
        ensure!(!listed.contains("User:alice") && listed.contains("User:bob"), "{listed}");
        cluster.stop(1)?;
        cluster.start_broker(1)?;
        cluster.wait_broker(1)?;
        let sorted = |text: &str| {
            let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
            lines.sort();
            lines
        };
        ensure!(sorted(&acls(&["--list"])?) == sorted(&listed), "rules outlive their brokers");
        let wrong = ["--add", "--allow-principal", "alice", "--operation", "Read", "--topic", "a"];
        let wrong = tool(ACLS, &[&["--bootstrap-server", &at], &wrong[..]].concat(), "")?;
        ensure!(!wrong.success, "{wrong:?}");
        Ok(())
    });
}
