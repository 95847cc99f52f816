//! What a kind of entity is to the controller, and what it knows of one resource of the kind.

use std::fmt::Debug;

use crd::{Condition, EntityReason};
use k8s_openapi::NamespaceResourceScope;
use kube::core::DynamicObject;
use kube::{Resource, ResourceExt};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::runtime::Metrics;

/// A kind of entity. Its resources live beside their cluster, and each says what one entity of the
/// kind is to be like.
pub trait Entity: Copy + Debug + Default + PartialEq + Send + Sync + 'static {
    type Resource: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Clone
        + Debug
        + DeserializeOwned
        + Send
        + Sync
        + 'static;
    type Wish: Wish;
    type Status: Status;
    /// What the entity is like, for the status; by default what the status says stays.
    type Numbers: Clone + Debug + Default + PartialEq + Send + Sync;

    /// On every resource whose deletion deletes the entity.
    const FINALIZER: &'static str;
    /// The controller in metrics and logs.
    const CONTROLLER: &'static str;

    fn entry(resource: &Self::Resource) -> Entry<Self>;
    /// The wish of a resource that cannot be read, which may be written to all the same.
    fn unreadable(key: &Key, uid: String) -> Self::Wish;
    /// The entity's name in Kafka, of a resource that may not be readable.
    fn name_in_kafka(resource: &DynamicObject) -> String;
    /// Which of the resources that name one entity has it.
    fn owner(wishes: &[Self::Wish]) -> Option<usize>;
    /// Puts what the entity is like into the status.
    fn note(status: &mut Self::Status, wish: &Self::Wish, numbers: &Self::Numbers);
    /// Takes from a status that was just written what the wish has of it.
    fn learn(wish: &mut Self::Wish, status: &Self::Status);
    /// How many resources of a cluster are ready, and how many are not; `None` where none is left.
    fn count(metrics: &Metrics, cluster: &Key, count: Option<(usize, usize)>);
}

/// What a resource asks for, as far as all kinds have it in common.
pub trait Wish: Clone + Debug + Default + PartialEq + Send + Sync + 'static {
    fn namespace(&self) -> &str;
    /// Of the resource.
    fn name(&self) -> &str;
    fn uid(&self) -> &str;
    /// The entity's name in Kafka.
    fn entity(&self) -> &str;
    /// `false`: the operator leaves the entity alone.
    fn is_managed(&self) -> bool;
    fn is_deleting(&self) -> bool;
    /// The entity is deleted with the resource, which a finalizer holds until that is done.
    fn is_held(&self) -> bool;
    /// The resource had the entity before.
    fn had_it(&self) -> bool;
    /// Whether both ask for the same. What the operator noted itself does not count.
    fn asks_as(&self, other: &Self) -> bool;
}

/// What the statuses of all kinds have in common.
pub trait Status: Clone + Debug + Default + PartialEq + Serialize + Send + Sync + 'static {
    fn observed_generation(&self) -> Option<i64>;
    fn conditions(&self) -> &[Condition];
    fn common_mut(&mut self) -> (&mut Option<i64>, &mut Vec<Condition>);
}

/// Namespace and name.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Key {
    pub namespace: String,
    pub name: String,
}

impl Key {
    pub fn new(namespace: impl Into<String>, name: impl Into<String>) -> Key {
        Key { namespace: namespace.into(), name: name.into() }
    }

    pub fn of(object: &impl ResourceExt) -> Key {
        Key::new(object.namespace().unwrap_or_default(), object.name_any())
    }
}

/// A resource, as far as it matters.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Entry<E: Entity> {
    pub wish: E::Wish,
    /// Name of its cluster, in the same namespace.
    pub cluster: String,
    pub generation: Option<i64>,
    pub resource_version: String,
    pub finalizers: Vec<String>,
    /// Why it can never be, whatever the cluster says.
    pub impossible: Option<(EntityReason, String)>,
    pub status: Option<E::Status>,
}

impl<E: Entity> Entry<E> {
    pub fn key(&self) -> Key {
        Key::new(self.wish.namespace(), self.wish.name())
    }

    pub fn cluster_key(&self) -> Key {
        Key::new(self.wish.namespace(), &self.cluster)
    }

    pub fn has_finalizer(&self) -> bool {
        self.finalizers.iter().any(|name| name == E::FINALIZER)
    }

    /// The condition `Ready`, as the status has it.
    pub fn ready(&self) -> Option<&Condition> {
        crd::find_condition(self.status.as_ref()?.conditions(), crd::kind::READY)
    }

    pub fn is_ready(&self) -> bool {
        self.ready().is_some_and(|condition| condition.status == "True")
    }

    /// Whether the two ask for the same. The rest is of our own making.
    pub fn asks_as(&self, other: &Entry<E>) -> bool {
        self.wish.asks_as(&other.wish)
            && self.cluster == other.cluster
            && self.generation == other.generation
            && self.finalizers == other.finalizers
            && self.impossible == other.impossible
    }

    /// The finalizers that it is to have; `None` where it has them.
    pub fn finalizers_with(&self, ours: bool) -> Option<Vec<String>> {
        match (self.has_finalizer(), ours) {
            (true, false) => {
                let others = self.finalizers.iter().filter(|name| *name != E::FINALIZER);
                Some(others.cloned().collect())
            }
            (false, true) => {
                let mut all = self.finalizers.clone();
                all.push(E::FINALIZER.to_owned());
                Some(all)
            }
            _ => None,
        }
    }
}
