//! What is known of resources: entities by the name that they have in Kafka, per cluster, and of
//! each cluster the few facts that matter here. Objects themselves are not kept.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::cluster::ClusterState;
use super::resource::{Entity, Entry, Key, Wish};

/// An entity that wants a look: its cluster and its name in Kafka.
pub type Dirty = (Key, String);

/// All resources that were seen.
#[derive(Debug, Default)]
pub struct Index<E: Entity> {
    entries: HashMap<Key, Entry<E>>,
    /// Resources by cluster and by the entity's name in Kafka.
    entities: HashMap<Key, BTreeMap<String, BTreeSet<Key>>>,
    clusters: HashMap<Key, ClusterState>,
}

impl<E: Entity> Index<E> {
    /// Takes a resource in; what has to be looked at because of it.
    pub fn apply(&mut self, entry: Entry<E>) -> Vec<Dirty> {
        let key = entry.key();
        let now = (entry.cluster_key(), entry.wish.entity().to_owned());
        let old = self.entries.get(&key);
        let unchanged = old.is_some_and(|old| old.asks_as(&entry));
        let before = old.map(|old| (old.cluster_key(), old.wish.entity().to_owned()));
        let mut dirty = Vec::new();
        if let Some(before) = before.filter(|before| *before != now) {
            self.unlink(&before, &key);
            dirty.push(before);
        }
        let entities = self.entities.entry(now.0.clone()).or_default();
        entities.entry(now.1.clone()).or_default().insert(key.clone());
        self.entries.insert(key, entry);
        if !unchanged {
            dirty.push(now);
        }
        dirty
    }

    /// A resource is gone.
    pub fn remove(&mut self, key: &Key) -> Option<Dirty> {
        let entry = self.entries.remove(key)?;
        let at = (entry.cluster_key(), entry.wish.entity().to_owned());
        self.unlink(&at, key);
        Some(at)
    }

    fn unlink(&mut self, (cluster, entity): &Dirty, key: &Key) {
        let Some(entities) = self.entities.get_mut(cluster) else { return };
        if let Some(keys) = entities.get_mut(entity) {
            keys.remove(key);
            if keys.is_empty() {
                entities.remove(entity);
            }
        }
        if entities.is_empty() {
            self.entities.remove(cluster);
        }
    }

    /// Whether what matters of the cluster has changed.
    pub fn apply_cluster(&mut self, key: Key, facts: ClusterState) -> bool {
        self.clusters.get(&key) != Some(&facts) && {
            self.clusters.insert(key, facts);
            true
        }
    }

    pub fn remove_cluster(&mut self, key: &Key) -> bool {
        self.clusters.remove(key).is_some()
    }

    pub fn cluster(&self, key: &Key) -> Option<&ClusterState> {
        self.clusters.get(key)
    }

    /// Resources that name an entity.
    pub fn naming(&self, cluster: &Key, entity: &str) -> Vec<Entry<E>> {
        let keys = self.entities.get(cluster).and_then(|entities| entities.get(entity));
        keys.into_iter().flatten().filter_map(|key| self.entries.get(key)).cloned().collect()
    }

    /// All entities of a cluster, by their names in Kafka.
    pub fn entities_of(&self, cluster: &Key) -> Vec<String> {
        let entities = self.entities.get(cluster);
        entities.into_iter().flat_map(BTreeMap::keys).cloned().collect()
    }

    pub fn has_entities(&self, cluster: &Key) -> bool {
        self.entities.contains_key(cluster)
    }

    /// Clusters that resources name, whether they exist or not.
    pub fn named_clusters(&self) -> Vec<Key> {
        self.entities.keys().cloned().collect()
    }

    /// How many resources of a cluster are ready, and how many are not.
    pub fn count(&self, cluster: &Key) -> (usize, usize) {
        let keys = self.entities.get(cluster).into_iter().flat_map(BTreeMap::values).flatten();
        let entries = keys.filter_map(|key| self.entries.get(key));
        entries.fold((0, 0), |(ready, not), entry| match entry.is_ready() {
            true => (ready + 1, not),
            false => (ready, not + 1),
        })
    }

    /// Resources and clusters that were not seen in a new listing of a namespace (of all where
    /// `None`).
    pub fn unlisted(&self, namespace: Option<&str>, listed: &BTreeSet<Key>) -> Vec<Key> {
        not_in(listed, self.entries.keys(), namespace)
    }

    pub fn unlisted_clusters(&self, namespace: Option<&str>, listed: &BTreeSet<Key>) -> Vec<Key> {
        not_in(listed, self.clusters.keys(), namespace)
    }

    /// A status was written: the watch will say so too, but later.
    pub fn wrote_status(&mut self, written: &Entry<E>, status: E::Status) {
        if let Some(entry) = self.entries.get_mut(&written.key())
            && entry.wish.uid() == written.wish.uid()
            && entry.generation == written.generation
        {
            E::learn(&mut entry.wish, &status);
            entry.status = Some(status);
        }
    }

    /// The finalizers were changed.
    pub fn wrote_finalizers(&mut self, written: &Entry<E>, finalizers: Vec<String>) {
        if let Some(entry) = self.entries.get_mut(&written.key())
            && entry.wish.uid() == written.wish.uid()
        {
            entry.finalizers = finalizers;
        }
    }
}

/// What of the namespace (of all where `None`) was seen before and is not listed.
fn not_in<'a>(
    listed: &BTreeSet<Key>,
    seen: impl Iterator<Item = &'a Key>,
    namespace: Option<&str>,
) -> Vec<Key> {
    let of_namespace = |key: &&Key| namespace.is_none_or(|name| key.namespace == name);
    seen.filter(of_namespace).filter(|key| !listed.contains(*key)).cloned().collect()
}
