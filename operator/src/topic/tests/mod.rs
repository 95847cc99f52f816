//! The worker against a Kafka and an API server that are in memory and can be made to fail.

mod controller;
mod fakes;
mod faults;
mod finalizers;
mod lifecycle;
mod queue;

use std::collections::BTreeMap;
use std::sync::Arc;

use base::ErrorCode;
use crd::EntityReason;
use plan::Fleet;
use plan::topics::TopicWish;

use super::Topics;
use super::batch::TopicBatch;
use crate::entity::index::Index;
use crate::entity::queue::Queue;
use crate::entity::worker::{Shared, Worker};
use crate::entity::{ClusterState, Entity, Key};
use crate::kafka::{AdminError, Refused};
use fakes::{FakeApi, FakeKafka};

type Entry = crate::entity::Entry<Topics>;

const FINALIZER: &str = Topics::FINALIZER;

/// A worker for the cluster `c` in the namespace `ns`, and its world.
struct Bed {
    kafka: FakeKafka,
    api: FakeApi,
    queue: Arc<Queue>,
    shared: Arc<Shared<Topics, FakeApi>>,
    worker: Worker<TopicBatch<FakeKafka>, FakeApi>,
}

fn cluster() -> Key {
    Key::new("ns", "c")
}

fn facts() -> ClusterState {
    ClusterState {
        uid: "c-uid".into(),
        ready: true,
        bootstrap: vec!["c-bootstrap.ns.svc:9092".into()],
        fleet: Fleet::of_one(3, None),
        moves_per_broker: 5,
        ..ClusterState::default()
    }
}

/// A resource that asks for three partitions with three copies.
fn entry(name: &str) -> Entry {
    let wish = TopicWish {
        namespace: "ns".into(),
        name: name.into(),
        uid: format!("uid of {name}"),
        created_ms: 1_000,
        topic: name.into(),
        partitions: 3,
        replication_factor: Some(3),
        managed: true,
        ..TopicWish::default()
    };
    Entry { wish, cluster: "c".into(), generation: Some(1), ..Entry::default() }
}

fn deleting(mut entry: Entry) -> Entry {
    entry.wish.deleting = true;
    entry
}

/// With the policy Delete.
fn disposable(name: &str) -> Entry {
    let mut entry = entry(name);
    entry.wish.delete_data = true;
    entry
}

impl Bed {
    fn new() -> Bed {
        let (kafka, api) = (FakeKafka::new(3), FakeApi::new());
        let shared = Arc::new(Shared { index: Index::default().into(), resources: api.clone() });
        shared.index().apply_cluster(cluster(), facts());
        let queue = Arc::new(Queue::default());
        let batch = TopicBatch::new(kafka.clone());
        let worker = Worker::new(cluster(), shared.clone(), queue.clone(), batch);
        Bed { kafka, api, queue, shared, worker }
    }

    /// As the watch says it: what the API server has of our own writes is kept.
    fn apply(&self, mut entry: Entry) {
        let known = self.shared.index().naming(&entry.cluster_key(), &entry.wish.topic);
        if let Some(known) = known.into_iter().find(|known| known.key() == entry.key()) {
            entry.status = known.status;
            entry.finalizers = known.finalizers;
            entry.wish.known_id = known.wish.known_id;
        }
        self.shared.index().apply(entry);
    }

    fn cluster_is(&self, change: impl FnOnce(&mut ClusterState)) {
        let mut facts = facts();
        change(&mut facts);
        self.shared.index().apply_cluster(cluster(), facts);
    }

    /// Looks at these topics, once.
    async fn look(&mut self, names: &[&str]) {
        self.worker.pass(names.iter().map(|name| (*name).to_owned()).collect()).await;
    }

    fn resource(&self, name: &str) -> Entry {
        let index = self.shared.index();
        let topics = index.entities_of(&cluster());
        let all = topics.iter().flat_map(|topic| index.naming(&cluster(), topic));
        all.into_iter().find(|entry| entry.wish.name == name).unwrap()
    }

    /// Status and reason of the Ready condition, and its message.
    fn says(&self, name: &str) -> (bool, String, String) {
        let entry = self.resource(name);
        let status = entry.status.clone().unwrap_or_default();
        let ready = crd::find_condition(&status.conditions, crd::kind::READY).cloned();
        let ready = ready.unwrap_or_else(|| panic!("{name} has no condition"));
        (ready.status == "True", ready.reason, ready.message)
    }

    #[track_caller]
    fn assert_reason(&self, name: &str, ready: bool, reason: EntityReason) {
        let (is, why, message) = self.says(name);
        assert_eq!((is, why.as_str()), (ready, reason.name()), "{name}: {message}");
    }
}

fn config(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
}

fn refused(code: ErrorCode) -> Refused {
    Refused::new(code, code.message())
}

fn timed_out() -> AdminError {
    AdminError::Timeout(wire::ApiKey::CreateTopics)
}

/// Of a topic that may be there already.
fn adopting(name: &str) -> Entry {
    let mut entry = entry(name);
    entry.wish.adopt = true;
    entry
}

fn held(name: &str) -> Entry {
    let mut entry = disposable(name);
    entry.finalizers = vec![FINALIZER.to_owned()];
    entry
}
