//! What restarts brokers and what does not: the pod template changes with the former only.

use crd::KafkaCluster;
use k8s_openapi::api::core::v1::PodTemplateSpec;

use super::{FULL, build, cluster, input};
use crate::{
    ClusterInput, RESTART_ANNOTATION, claim_owner, config_hash, image, immutable_difference,
    objects,
};

fn template(cluster: &KafkaCluster) -> PodTemplateSpec {
    build(cluster).stateful_set.spec.unwrap().template
}

fn edited(edit: impl Fn(&mut KafkaCluster)) -> KafkaCluster {
    let mut cluster = cluster(FULL);
    edit(&mut cluster);
    cluster
}

fn config(key: &'static str, value: &'static str) -> KafkaCluster {
    edited(|c| drop(c.spec.config.insert(key.into(), crd::ConfigValue::Text(value.into()))))
}

#[test]
fn what_a_running_broker_can_take_restarts_nobody() {
    let before = template(&cluster(FULL));
    let same = |what: &str, cluster: KafkaCluster| {
        assert_eq!(template(&cluster), before, "{what}");
    };
    same("more brokers", edited(|c| c.spec.brokers.replicas = 5));
    same("more voters", edited(|c| c.spec.controllers.as_mut().unwrap().replicas = 5));
    same("a dynamic key", config("min.insync.replicas", "1"));
    same("another dynamic key", config("log.retention.ms", "1000"));
    same("a key without effect", config("background.threads", "21"));
    same(
        "labels of the resource",
        edited(|c| {
            c.metadata.labels = Some([("a".to_owned(), "b".to_owned())].into());
        }),
    );
    same("annotations of a Service", edited(|c| c.spec.listeners[1].annotations.clear()));
    same("a node port", edited(|c| c.spec.listeners[1].node_port = Some(31_999)));
    same(
        "an advertised host",
        edited(|c| {
            c.spec.listeners[1].advertised_host = Some("a.example".into());
        }),
    );
    same("storage", edited(|c| c.spec.brokers.storage.as_mut().unwrap().size = "200Gi".into()));
    same("how to roll", edited(|c| c.spec.rolling.max_unavailable = Some(2)));
    same("how to rebalance", edited(|c| c.spec.rebalance.max_moves_per_broker = 1));
    same("pause", edited(|c| c.spec.paused = true));
    same("a new order of listeners' Services", edited(|c| c.metadata.generation = Some(9)));
}

#[test]
fn what_was_decided_about_the_quorum_restarts_nobody() {
    let cluster = cluster(FULL);
    let later = ClusterInput { voters: &[2, 3, 4], begin: false, replicas: 7, ..input(&cluster) };
    let of = |input: &ClusterInput<'_>| objects(input).stateful_set.spec.unwrap().template;
    assert_eq!(of(&input(&cluster)), of(&later));
}

#[test]
fn what_needs_a_restart_changes_the_template() {
    let before = template(&cluster(FULL));
    let differs = |what: &str, cluster: KafkaCluster| {
        assert_ne!(template(&cluster), before, "{what}");
    };
    differs("a key read at the start", config("num.partitions", "7"));
    differs("a key taken away", edited(|c| drop(c.spec.config.remove("num.partitions"))));
    differs("resources", edited(|c| c.spec.brokers.resources = None));
    differs("a listener's port", edited(|c| c.spec.listeners[0].port = 9099));
    differs("a listener less", edited(|c| drop(c.spec.listeners.pop())));
    differs("environment", edited(|c| c.spec.brokers.pod_template.env.clear()));
    differs("tolerations", edited(|c| c.spec.brokers.pod_template.tolerations.clear()));
    differs(
        "a wish to restart",
        edited(|c| {
            c.metadata.annotations = Some([(RESTART_ANNOTATION.to_owned(), "1".to_owned())].into());
        }),
    );
    let cluster = cluster(FULL);
    let other = objects(&ClusterInput { image: "barnabas/broker:2", ..input(&cluster) });
    assert_ne!(other.stateful_set.spec.unwrap().template, before);
}

/// Listed in another order, a configuration is the same.
#[test]
fn the_hash_stands_for_the_configuration() {
    assert_eq!(config_hash(&cluster(FULL)), config_hash(&cluster(FULL)));
    assert_ne!(config_hash(&cluster(FULL)), config_hash(&config("num.partitions", "60")));
}

/// Or a cluster-wide restart would ask for a second replacement of each pod, for ever.
#[test]
fn pods_do_not_inherit_the_wish_to_be_replaced() {
    let asked = [(RESTART_ANNOTATION.to_owned(), "true".to_owned())];
    let cluster = edited(|c| {
        c.metadata.annotations = Some(asked.clone().into());
        c.spec.brokers.pod_template.annotations.extend(asked.clone());
    });
    let annotations = template(&cluster).metadata.unwrap().annotations.unwrap();
    assert!(!annotations.contains_key(RESTART_ANNOTATION), "{annotations:?}");
    assert!(annotations.values().any(|value| value == "true"));
}

#[test]
fn a_grown_volume_needs_a_new_set_and_nothing_else_does() {
    let before = build(&cluster(FULL)).stateful_set;
    let grown = edited(|c| c.spec.brokers.storage.as_mut().unwrap().size = "200Gi".into());
    let difference =
        |cluster: &KafkaCluster| immutable_difference(&before, &build(cluster).stateful_set);
    assert_eq!(difference(&grown), Some("volumeClaimTemplates"));
    assert_eq!(difference(&config("num.partitions", "7")), None);
    assert_eq!(difference(&edited(|c| c.spec.brokers.replicas = 9)), None);
}

#[test]
fn volumes_go_with_the_cluster_only_where_the_user_says_so() {
    let owner = claim_owner(&cluster(FULL)).unwrap();
    assert_eq!((owner.kind.as_str(), owner.controller), ("KafkaCluster", None));
    let kept = cluster("{brokers: {replicas: 1, storage: {size: 1Gi}}}");
    assert_eq!(claim_owner(&kept), None);
}

#[test]
fn images() {
    let of = |spec: &str, default: &str| image(&cluster(spec), default, None);
    let plain = "{brokers: {replicas: 1}}";
    let tagged = "{version: '0.2', brokers: {replicas: 1}}";
    assert_eq!(of(plain, "r.io:5000/broker:0.1"), "r.io:5000/broker:0.1");
    assert_eq!(of(tagged, "r.io:5000/broker:0.1"), "r.io:5000/broker:0.2");
    assert_eq!(of(tagged, "r.io:5000/broker"), "r.io:5000/broker:0.2");
    assert_eq!(of(tagged, "broker@sha256:00"), "broker:0.2");
    assert_eq!(of("{version: '0.2', image: a:b, brokers: {replicas: 1}}", "broker"), "a:b");
    let keeps = |spec: &str| image(&cluster(spec), "b:2", Some("b:1"));
    assert_eq!(keeps("{brokers: {replicas: 1}}"), "b:1", "until somebody says otherwise");
    assert_eq!(keeps("{upgradePolicy: Auto, brokers: {replicas: 1}}"), "b:2");
    assert_eq!(keeps("{version: '3', brokers: {replicas: 1}}"), "b:3");
}
