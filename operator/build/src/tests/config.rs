//! The configuration: what is refused, what a running broker takes, what the files say.

use metadata::config::broker_key;

use super::{FULL, MINIMAL, cluster, input};
use crate::{check_config, cluster_id, common_properties, dynamic_config, objects, static_config};

fn problems(config: &str) -> Vec<String> {
    let cluster = cluster(&format!("{{brokers: {{replicas: 1}}, config: {config}}}"));
    check_config(&cluster).iter().map(ToString::to_string).collect()
}

#[test]
fn what_brokers_would_refuse_is_named() {
    let check = |config: &str, want: &str| {
        let problems = problems(config);
        assert!(problems.len() == 1 && problems[0].contains(want), "{want}: {problems:?}");
    };
    check("{log.retention.mss: 1}", "did you mean log.retention.ms?");
    check("{nonsense: 1}", "spec.config.nonsense: is not a key of Kafka");
    check("{num.partitions: 0}", "spec.config.num.partitions: must be at least 1");
    check("{num.partitions: many}", "expected an integer");
    check("{num.partitions: [1]}", "is not a string, number or boolean");
    check("{num.partitions: }", "is not a string, number or boolean");
    check("{controller.quorum.fetch.timeout.ms: 1}", "follows from the rest of the spec");
    check("{client.quota.callback.class: a.B}", "is not supported");
    assert_eq!(problems("{a.b: 1, c.d: 2}").len(), 2);
    assert_eq!(check_config(&cluster(FULL)), []);
}

#[test]
fn dynamic_keys_are_in_no_file() {
    let cluster = cluster(FULL);
    let dynamic = dynamic_config(&cluster);
    assert_eq!(dynamic.get("min.insync.replicas").map(String::as_str), Some("2"));
    assert!(!dynamic.contains_key("num.partitions"));
    let fixed = static_config(&cluster);
    assert_eq!(fixed.get("num.partitions").map(String::as_str), Some("6"));
    assert_eq!(dynamic.len() + fixed.len(), cluster.spec.config.len());
    let text = common_properties(&input(&cluster));
    assert!(!text.contains("min.insync.replicas"), "{text}");
    assert!(text.contains("\ndefault.replication.factor=3\n"), "{text}");
}

/// The racks themselves stand in the files of the pods (`addresses.rs`).
#[test]
fn consumers_may_be_sent_to_the_replica_in_their_rack() {
    let class = "org.apache.kafka.common.replica.RackAwareReplicaSelector";
    let set = |class: &str| format!("config: {{replica.selector.class: {class}}}");
    let spec = format!("{{brokers: {{replicas: 1}}, rack: {{nodeLabel: zone}}, {}}}", set(class));
    let cluster = cluster(&spec);
    assert_eq!(check_config(&cluster), []);
    let text = common_properties(&input(&cluster));
    assert!(text.contains(&format!("\nreplica.selector.class={class}\n")), "{text}");
    assert_eq!(problems("{replica.selector.class: a.B}").len(), 1);
}

/// A broker does not start with a key that it does not know.
#[test]
fn brokers_know_every_key_of_their_files() {
    for spec in [MINIMAL, FULL] {
        let cluster = cluster(spec);
        let files = objects(&input(&cluster)).config_map.data.unwrap();
        for line in files.values().flat_map(|text| text.lines()) {
            let (key, value) = line.split_once('=').unwrap();
            let known = broker_key(key).unwrap_or_else(|| panic!("{key} is unknown"));
            assert!(known.validate(value).is_ok(), "{line}");
        }
    }
}

/// The last of two lines with one key wins, and a user's come last.
#[test]
fn no_user_can_set_what_the_operator_writes() {
    let cluster = cluster(MINIMAL);
    let files = objects(&input(&cluster)).config_map.data.unwrap();
    for line in files.values().flat_map(|text| text.lines()) {
        let key = line.split('=').next().unwrap();
        assert!(crd::is_reserved_broker_key(key), "{key} is not reserved");
    }
}

#[test]
fn values_cannot_break_out_of_their_line() {
    let spec = "{brokers: {replicas: 1}, config: {ssl.protocol: \"a\\nnode.id=9\\\\\"}}";
    let text = common_properties(&input(&cluster(spec)));
    assert!(text.contains("ssl.protocol=a\\nnode.id=9\\\\\n"), "{text}");
    assert!(!text.lines().any(|line| line.starts_with("node.id")), "{text}");
}

#[test]
fn a_cluster_keeps_its_id() {
    let id = cluster_id(&cluster(MINIMAL));
    assert_eq!(id, "WbvQ7PjdT-GZiDkoJ8qGYA");
    assert_eq!(id, cluster_id(&cluster(FULL)));
}

#[test]
fn an_id_is_never_taken_for_an_option() {
    let mut cluster = cluster(MINIMAL);
    cluster.metadata.uid = Some("fb000000-0000-4000-8000-000000000001".into());
    assert_eq!(cluster_id(&cluster), "ewAAAAAAQACAAAAAAAAAAQ");
}

#[test]
fn the_id_of_volumes_that_were_there_before_wins_if_it_is_one() {
    let mut cluster = cluster(MINIMAL);
    let mut said = |id: &str| {
        let annotation = (crate::CLUSTER_ID_ANNOTATION.to_owned(), id.to_owned());
        cluster.metadata.annotations = Some([annotation].into());
        cluster_id(&cluster)
    };
    assert_eq!(said("Zaud-0OJTzeHgMGkccguPg"), "Zaud-0OJTzeHgMGkccguPg");
    assert_eq!(said("a\nnode.id=1"), "WbvQ7PjdT-GZiDkoJ8qGYA");
}

#[test]
fn voters_and_the_right_to_begin_are_what_was_decided() {
    let cluster = cluster(FULL);
    let text = common_properties(&input(&cluster));
    let voter = |id: i32| format!("{id}@castle-broker-{id}.castle-brokers.keep.svc:9093");
    let line = format!("controller.quorum.voters={},{},{}\n", voter(0), voter(1), voter(2));
    assert!(text.contains(&line), "{text}");
    assert!(text.contains("barnabas.quorum.begin=true\n"), "{text}");
    let later = crate::ClusterInput { voters: &[4], begin: false, ..input(&cluster) };
    let text = common_properties(&later);
    assert!(text.contains(&format!("controller.quorum.voters={}\n", voter(4))), "{text}");
    assert!(text.contains("barnabas.quorum.begin=false\n"), "{text}");
}
