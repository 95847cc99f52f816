//! From watch events to workers.

use std::time::Duration;

use crd::EntityReason as Reason;
use kube::api::ObjectMeta;

use super::*;
use crate::entity::controller::Controller;
use crate::entity::watch::{Kind, Listing, Object, Scope, Seen, Unreadable};

const CLUSTERS: Scope = Scope(0);
const TOPICS: Scope = Scope(1);

fn listings() -> Vec<Listing> {
    [Kind::Clusters, Kind::Entities].map(|kind| Listing { namespace: None, kind }).to_vec()
}

fn controller(kafka: &FakeKafka, api: &FakeApi) -> Controller<TopicBatch<FakeKafka>, FakeApi> {
    let kafka = kafka.clone();
    Controller::new(api.clone(), listings(), move || TopicBatch::new(kafka.clone()))
}

fn topic(entry: Entry) -> Object<Topics> {
    Object::Entity(Box::new(entry))
}

async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let waiting = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), waiting).await.expect(what);
}

#[tokio::test]
async fn nothing_is_given_up_before_everything_was_listed() {
    let (kafka, api) = (FakeKafka::new(3), FakeApi::new());
    kafka.put("t", 3, 3, config(&[]));
    let mut controller = controller(&kafka, &api);
    controller.handle(Seen::Begin(TOPICS)).await;
    controller.handle(Seen::Listed(TOPICS, topic(deleting(held("t"))))).await;
    controller.handle(Seen::Complete(TOPICS)).await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(api.writes(), 0, "the cluster may exist");
    controller.handle(Seen::Begin(CLUSTERS)).await;
    controller.handle(Seen::Listed(CLUSTERS, Object::Cluster(cluster(), facts()))).await;
    controller.handle(Seen::Complete(CLUSTERS)).await;
    until("the topic is deleted", || !kafka.has("t")).await;
    until("the finalizer goes", || api.lock().finalizers.len() == 1).await;
    controller.stop().await;
}

/// A namespace that vanished with its Role is refused for ever.
#[tokio::test]
async fn a_namespace_that_cannot_be_listed_holds_up_no_other() {
    let (kafka, api) = (FakeKafka::new(3), FakeApi::new());
    let listings = ["ns", "gone"].into_iter().flat_map(|namespace| {
        let namespace = Some(namespace.to_owned());
        [Kind::Clusters, Kind::Entities].map(|kind| Listing { namespace: namespace.clone(), kind })
    });
    let brokers = kafka.clone();
    let mut controller =
        Controller::new(api.clone(), listings.collect(), move || TopicBatch::new(brokers.clone()));
    for scope in [CLUSTERS, TOPICS] {
        controller.handle(Seen::Begin(scope)).await;
    }
    controller.handle(Seen::Listed(CLUSTERS, Object::Cluster(cluster(), facts()))).await;
    controller.handle(Seen::Listed(TOPICS, topic(entry("a")))).await;
    // Only half of it is known: whether the cluster exists is not.
    let half = Scope(3);
    let mut other = entry("b");
    other.wish.namespace = "gone".into();
    controller.handle(Seen::Begin(half)).await;
    controller.handle(Seen::Listed(half, topic(other))).await;
    controller.handle(Seen::Complete(half)).await;
    for scope in [CLUSTERS, TOPICS] {
        controller.handle(Seen::Complete(scope)).await;
    }
    until("a is made", || kafka.has("a")).await;
    controller.handle(Seen::Changed(topic(entry("c")))).await;
    until("c is made", || kafka.has("c") && api.lock().statuses.len() == 2).await;
    assert_eq!(api.lock().statuses, ["a", "c"], "nothing is said in the other namespace");
    controller.stop().await;
}

async fn begun(kafka: &FakeKafka, api: &FakeApi) -> Controller<TopicBatch<FakeKafka>, FakeApi> {
    let mut controller = controller(kafka, api);
    for scope in [CLUSTERS, TOPICS] {
        controller.handle(Seen::Begin(scope)).await;
    }
    controller.handle(Seen::Listed(CLUSTERS, Object::Cluster(cluster(), facts()))).await;
    for scope in [CLUSTERS, TOPICS] {
        controller.handle(Seen::Complete(scope)).await;
    }
    controller
}

#[tokio::test]
async fn what_a_new_listing_lacks_is_gone() {
    let (kafka, api) = (FakeKafka::new(3), FakeApi::new());
    let mut controller = begun(&kafka, &api).await;
    let mut younger = entry("younger");
    (younger.wish.topic, younger.wish.created_ms) = ("t".into(), 2_000);
    let mut older = entry("older");
    older.wish.topic = "t".into();
    controller.handle(Seen::Changed(topic(older))).await;
    controller.handle(Seen::Changed(topic(younger.clone()))).await;
    until("both are told", || api.lock().statuses.len() == 2).await;
    assert_eq!(api.lock().events, [Reason::Conflict.name()]);
    controller.handle(Seen::Begin(TOPICS)).await;
    controller.handle(Seen::Listed(TOPICS, topic(younger))).await;
    controller.handle(Seen::Complete(TOPICS)).await;
    until("the younger takes over", || api.lock().statuses.len() == 3).await;
    assert_eq!(api.lock().statuses[2], "younger");
    controller.stop().await;
}

#[tokio::test]
async fn an_unreadable_resource_is_reported_once_and_holds_nothing_up() {
    let (kafka, api) = (FakeKafka::new(3), FakeApi::new());
    let mut controller = begun(&kafka, &api).await;
    let unreadable = |finalizers: Option<Vec<String>>| {
        let metadata = ObjectMeta {
            uid: Some("u".into()),
            generation: Some(1),
            finalizers,
            ..ObjectMeta::default()
        };
        let error = "missing field `partitions`".into();
        let key = Key::new("ns", "bad");
        Unreadable { key, metadata, error }
    };
    for _ in 0..3 {
        let bad = Object::UnreadableEntity(Box::new(unreadable(None)));
        controller.handle(Seen::Changed(bad)).await;
    }
    controller.handle(Seen::Changed(topic(entry("good")))).await;
    until("the good one is made", || kafka.has("good")).await;
    until("and told", || api.lock().statuses.len() == 2).await;
    assert_eq!(api.lock().statuses, ["bad", "good"]);

    let mut bad = unreadable(Some(vec![FINALIZER.into()]));
    bad.metadata.deletion_timestamp = Some(crd::Time(Default::default()));
    controller.handle(Seen::Changed(Object::UnreadableEntity(Box::new(bad)))).await;
    assert_eq!(api.lock().finalizers, [("bad".into(), vec![])]);
    controller.stop().await;
}

#[tokio::test]
async fn a_worker_ends_with_the_last_topic_of_its_cluster_and_comes_again() {
    let (kafka, api) = (FakeKafka::new(3), FakeApi::new());
    let mut controller = begun(&kafka, &api).await;
    controller.handle(Seen::Changed(topic(entry("a")))).await;
    until("a is made", || kafka.has("a")).await;
    controller.handle(Seen::Gone(Kind::Entities, Key::new("ns", "a"))).await;
    controller.handle(Seen::Changed(topic(entry("b")))).await;
    until("b is made", || kafka.has("b")).await;
    assert!(kafka.has("a"), "the resource is gone, the topic is retained");
    controller.stop().await;
}

#[tokio::test]
async fn ten_thousand_topics_take_a_hundred_requests_and_a_resync_changes_nothing() {
    const MANY: usize = 10_000;
    let (kafka, api) = (FakeKafka::new(3), FakeApi::new());
    let mut controller = controller(&kafka, &api);
    for scope in [CLUSTERS, TOPICS] {
        controller.handle(Seen::Begin(scope)).await;
    }
    controller.handle(Seen::Listed(CLUSTERS, Object::Cluster(cluster(), facts()))).await;
    for n in 0..MANY {
        controller.handle(Seen::Listed(TOPICS, topic(entry(&format!("t{n}"))))).await;
    }
    for scope in [CLUSTERS, TOPICS] {
        controller.handle(Seen::Complete(scope)).await;
    }
    until("all are made", || api.lock().statuses.len() == MANY).await;
    assert_eq!(kafka.calls("create"), vec![100; 100]);
    let looks = kafka.calls("describe").len();
    controller.resync();
    until("all are looked at", || kafka.calls("describe").len() >= looks + 100).await;
    assert_eq!(kafka.calls("create").len(), 100);
    assert_eq!(api.writes(), MANY, "one write for each, and none for what stays");
    controller.stop().await;
}

#[tokio::test]
async fn topics_of_another_operator_s_cluster_are_left_alone_until_it_is_handed_over() {
    let (kafka, api) = (FakeKafka::new(3), FakeApi::new());
    let mut controller = begun(&kafka, &api).await;
    let foreign = ClusterState { foreign: true, ..facts() };
    controller.handle(Seen::Changed(Object::Cluster(cluster(), foreign))).await;
    controller.handle(Seen::Changed(topic(entry("t")))).await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert!(!kafka.has("t") && api.writes() == 0, "not even told of");
    controller.handle(Seen::Changed(Object::Cluster(cluster(), facts()))).await;
    until("the topic is made", || kafka.has("t")).await;
    controller.stop().await;
}
