//! From what the watches say to the queues of the workers. Runs in one task; workers run beside it
//! and end with the last resource of their cluster.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::SystemTime;

use crd::{EntityReason, Time};
use k8s_openapi::jiff::Timestamp;
use kube::api::ObjectMeta;
use tokio::task::JoinSet;

use super::api::Resources;
use super::batch::Batch;
use super::cluster::ClusterState;
use super::index::{Dirty, Index};
use super::outcome::{Outcome, status};
use super::queue::Queue;
use super::resource::{Entity, Entry, Key};
use super::watch::{Kind, Listing, Object, Seen, Unreadable};
use super::worker::{Shared, Worker};

/// Keeps the index, and the workers busy.
pub struct Controller<B: Batch, R> {
    shared: Arc<Shared<B::Entity, R>>,
    listings: Vec<Listing>,
    /// Of each listing under way: what it has so far.
    listed: Vec<Option<BTreeSet<Key>>>,
    /// Listings that were never complete yet.
    missing: BTreeSet<usize>,
    queues: HashMap<Key, Arc<Queue>>,
    workers: JoinSet<()>,
    /// Makes what a new worker works with.
    batch: Box<dyn Fn() -> B + Send>,
    /// Resources that cannot be read, in the version that was reported.
    unreadable: HashMap<Key, (Option<String>, Option<i64>)>,
}

impl<B: Batch, R: Resources<B::Entity>> Controller<B, R> {
    pub fn new(
        resources: R,
        listings: Vec<Listing>,
        batch: impl Fn() -> B + Send + 'static,
    ) -> Controller<B, R> {
        let index = Index::default();
        Controller {
            shared: Arc::new(Shared { index: index.into(), resources }),
            listed: listings.iter().map(|_| None).collect(),
            missing: (0..listings.len()).collect(),
            listings,
            queues: HashMap::new(),
            workers: JoinSet::new(),
            batch: Box::new(batch),
            unreadable: HashMap::new(),
        }
    }

    /// Takes in what a watch says.
    pub async fn handle(&mut self, seen: Seen<B::Entity>) {
        match seen {
            Seen::Begin(scope) => self.listed[scope.0] = Some(BTreeSet::new()),
            Seen::Listed(scope, object) => {
                if let Some(listed) = &mut self.listed[scope.0] {
                    listed.insert(object.key());
                }
                self.take(object).await;
            }
            Seen::Complete(scope) => {
                if let Some(listed) = self.listed[scope.0].take() {
                    self.forget_unlisted(scope.0, &listed);
                }
                if self.missing.remove(&scope.0) {
                    self.begin();
                }
            }
            Seen::Changed(object) => self.take(object).await,
            Seen::Gone(kind, key) => self.forget(kind, &key),
        }
        while self.workers.try_join_next().is_some() {}
    }

    /// A namespace was listed. A queue keeps each entity once, so that those of another namespace
    /// are not looked at more often for it.
    fn begin(&mut self) {
        let clusters = self.shared.index().named_clusters();
        let listed = clusters.iter().filter(|cluster| self.is_listed(&cluster.namespace));
        let listed: Vec<&Key> = listed.collect();
        tracing::info!(clusters = listed.len(), waiting = self.missing.len(), "resources listed");
        listed.into_iter().for_each(|cluster| self.look_at_all(cluster));
    }

    /// Whether all of a namespace was listed once: only then is what is not there known not to be.
    /// A namespace that cannot be listed holds up no other.
    fn is_listed(&self, namespace: &str) -> bool {
        let covers = |at: &usize| match &self.listings[*at].namespace {
            Some(one) => one == namespace,
            None => true,
        };
        !self.missing.iter().any(covers)
    }

    async fn take(&mut self, object: Object<B::Entity>) {
        match object {
            Object::Entity(entry) => {
                self.unreadable.remove(&entry.key());
                let dirty = self.shared.index().apply(*entry);
                self.look_at(dirty);
            }
            Object::Cluster(key, facts) => self.take_cluster(key, facts),
            Object::UnreadableCluster(key) => {
                // It is there, that much is known: nothing may be given up for its sake.
                let known = self.shared.index().cluster(&key).cloned();
                self.take_cluster(key, known.unwrap_or_default());
            }
            Object::UnreadableEntity(unreadable) => {
                let dirty = self.shared.index().remove(&unreadable.key);
                self.look_at(dirty);
                self.report(*unreadable).await;
            }
        }
    }

    fn take_cluster(&mut self, key: Key, facts: ClusterState) {
        let changed = self.shared.index().apply_cluster(key.clone(), facts);
        if changed && self.is_foreign(&key) {
            // What is under way ends; the worker of a cluster that comes back is another.
            if let Some(queue) = self.queues.remove(&key) {
                queue.close();
            }
        } else if changed {
            self.look_at_all(&key);
        }
    }

    fn forget(&mut self, kind: Kind, key: &Key) {
        match kind {
            Kind::Entities => {
                self.unreadable.remove(key);
                let dirty = self.shared.index().remove(key);
                self.look_at(dirty);
            }
            Kind::Clusters => {
                let known = self.shared.index().remove_cluster(key);
                if known {
                    self.look_at_all(key);
                }
            }
        }
    }

    fn forget_unlisted(&mut self, scope: usize, listed: &BTreeSet<Key>) {
        let Listing { namespace, kind } = self.listings[scope].clone();
        let lost = match kind {
            Kind::Entities => self.shared.index().unlisted(namespace.as_deref(), listed),
            Kind::Clusters => self.shared.index().unlisted_clusters(namespace.as_deref(), listed),
        };
        lost.iter().for_each(|key| self.forget(kind, key));
    }

    fn look_at(&mut self, dirty: impl IntoIterator<Item = Dirty>) {
        for (cluster, entity) in dirty {
            if !self.is_listed(&cluster.namespace) || self.is_foreign(&cluster) {
                continue;
            }
            if !self.shared.index().has_entities(&cluster) {
                if let Some(queue) = self.queues.remove(&cluster) {
                    queue.close();
                }
                continue;
            }
            self.queue(&cluster).push(entity);
        }
    }

    fn look_at_all(&mut self, cluster: &Key) {
        let entities = self.shared.index().entities_of(cluster);
        let waits = !self.is_listed(&cluster.namespace) || self.is_foreign(cluster);
        if waits || entities.is_empty() {
            return;
        }
        let queue = self.queue(cluster);
        entities.into_iter().for_each(|entity| queue.push(entity));
    }

    /// Another operator has the cluster: its resources are not even told of.
    fn is_foreign(&self, cluster: &Key) -> bool {
        self.shared.index().cluster(cluster).is_some_and(|facts| facts.foreign)
    }

    /// All entities are compared with Kafka, when there is nothing more urgent.
    pub fn resync(&mut self) {
        for (cluster, queue) in &self.queues {
            queue.push_resync(self.shared.index().entities_of(cluster));
        }
    }

    /// The queue of a cluster, and with it a worker.
    fn queue(&mut self, cluster: &Key) -> Arc<Queue> {
        if let Some(queue) = self.queues.get(cluster) {
            return queue.clone();
        }
        let queue = Arc::new(Queue::default());
        let (shared, batch) = (self.shared.clone(), (self.batch)());
        let worker = Worker::new(cluster.clone(), shared, queue.clone(), batch);
        self.workers.spawn(worker.run());
        self.queues.insert(cluster.clone(), queue.clone());
        queue
    }

    /// Says of a resource that it cannot be read, once; lets it go if that is what is asked.
    async fn report(&mut self, unreadable: Unreadable) {
        let Unreadable { key, metadata, error } = unreadable;
        let version = (metadata.uid.clone(), metadata.generation);
        let deleting = metadata.deletion_timestamp.is_some();
        let entry = entry_of::<B::Entity>(&key, metadata);
        let resources = &self.shared.resources;
        if let (true, Some(rest)) = (deleting, entry.finalizers_with(false)) {
            // Its deletion policy cannot be read: the entity stays.
            let written = resources.write_finalizers(&entry, &rest).await;
            tracing::warn!(resource = %key.name, %error, ?written, "unreadable and let go");
            return;
        }
        if self.unreadable.insert(key.clone(), version.clone()) == Some(version) {
            return;
        }
        tracing::warn!(namespace = %key.namespace, resource = %key.name, %error, "unreadable");
        let message = format!("the resource cannot be read: {error}");
        let (ready, reason) = (false, EntityReason::NotSupported);
        let outcome = Outcome { ready, reason, message, numbers: Default::default() };
        let now = Time(Timestamp::try_from(SystemTime::now()).unwrap_or_default());
        if let Some(status) = status(&entry, &outcome, &now)
            && let Err(error) = resources.write_status(&entry, &status).await
        {
            tracing::warn!(resource = %key.name, %error, "not written");
        }
    }

    /// Lets the batches under way end.
    pub async fn stop(mut self) {
        self.queues.values().for_each(|queue| queue.close());
        while self.workers.join_next().await.is_some() {}
    }
}

/// Enough of a resource to write to it.
pub(super) fn entry_of<E: Entity>(key: &Key, metadata: ObjectMeta) -> Entry<E> {
    Entry {
        wish: E::unreadable(key, metadata.uid.unwrap_or_default()),
        generation: metadata.generation,
        resource_version: metadata.resource_version.unwrap_or_default(),
        finalizers: metadata.finalizers.unwrap_or_default(),
        ..Entry::default()
    }
}
