//! The watches of a kind of resource and of KafkaClusters, in each watched namespace. Of an object
//! only what matters is kept; one that cannot be read is reported and holds nothing up.

use std::sync::Arc;

use crd::KafkaCluster;
use futures::stream::{BoxStream, select_all};
use futures::{Stream, StreamExt};
use k8s_openapi::NamespaceResourceScope;
use kube::api::ObjectMeta;
use kube::core::DeserializeGuard;
use kube::runtime::watcher::{self, Config, Event};
use kube::runtime::{WatchStreamExt, watcher as watch_objects};
use kube::{Api, Resource};

use super::cluster::ClusterState;
use super::resource::{Entity, Entry, Key};
use crate::Context;
use crate::runtime::Settings;

/// The listing that an event belongs to.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Scope(pub usize);

/// What a listing covers.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Listing {
    /// `None`: all.
    pub namespace: Option<String>,
    pub kind: Kind,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    Entities,
    Clusters,
}

/// A resource of ours that cannot be read.
#[derive(Clone, PartialEq, Debug)]
pub struct Unreadable {
    pub key: Key,
    pub metadata: ObjectMeta,
    pub error: String,
}

/// Something about one object.
#[derive(Clone, PartialEq, Debug)]
pub enum Object<E: Entity> {
    Entity(Box<Entry<E>>),
    Cluster(Key, ClusterState),
    UnreadableEntity(Box<Unreadable>),
    UnreadableCluster(Key),
}

/// What a watch says.
#[derive(Clone, PartialEq, Debug)]
pub enum Seen<E: Entity> {
    /// A new listing begins.
    Begin(Scope),
    Listed(Scope, Object<E>),
    /// What was not listed is gone.
    Complete(Scope),
    Changed(Object<E>),
    Gone(Kind, Key),
}

/// All watches as one stream.
pub fn watch<E: Entity>(context: &Arc<Context>) -> (BoxStream<'static, Seen<E>>, Vec<Listing>) {
    let namespaces: Vec<Option<String>> = match context.settings.namespaces() {
        all if all.is_empty() => vec![None],
        some => some.into_iter().map(|name| Some(name.to_owned())).collect(),
    };
    let (mut streams, mut listings) = (Vec::new(), Vec::new());
    for namespace in namespaces {
        for kind in [Kind::Clusters, Kind::Entities] {
            let scope = Scope(listings.len());
            let stream = match kind {
                Kind::Clusters => {
                    let settings = context.settings.clone();
                    objects::<KafkaCluster>(context, namespace.as_deref())
                        .filter_map(move |event| {
                            let read = |object| cluster::<E>(object, &settings);
                            std::future::ready(seen(scope, kind, event, &read))
                        })
                        .boxed()
                }
                Kind::Entities => objects::<E::Resource>(context, namespace.as_deref())
                    .filter_map(move |e| std::future::ready(seen(scope, kind, e, &entity::<E>)))
                    .boxed(),
            };
            streams.push(stream);
            listings.push(Listing { namespace: namespace.clone(), kind });
        }
    }
    (select_all(streams).boxed(), listings)
}

type Guarded<K> = watcher::Result<Event<DeserializeGuard<K>>>;

fn objects<K>(
    context: &Arc<Context>,
    namespace: Option<&str>,
) -> impl Stream<Item = Guarded<K>> + Send + use<K>
where
    K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
    K: Clone + std::fmt::Debug + serde::de::DeserializeOwned + Send + 'static,
{
    let client = context.client.clone();
    let api: Api<DeserializeGuard<K>> = match namespace {
        Some(namespace) => Api::namespaced(client, namespace),
        None => Api::all(client),
    };
    let sight = context.watching(namespace, &K::kind(&()));
    let seen = watch_objects(api, Config::default()).default_backoff();
    seen.inspect(move |event| sight.saw(event.as_ref().err()))
}

fn seen<E: Entity, K: Resource>(
    scope: Scope,
    kind: Kind,
    event: Guarded<K>,
    read: &impl Fn(DeserializeGuard<K>) -> Object<E>,
) -> Option<Seen<E>> {
    Some(match event {
        Ok(Event::Init) => Seen::Begin(scope),
        Ok(Event::InitApply(object)) => Seen::Listed(scope, read(object)),
        Ok(Event::InitDone) => Seen::Complete(scope),
        Ok(Event::Apply(object)) => Seen::Changed(read(object)),
        Ok(Event::Delete(object)) => Seen::Gone(
            kind,
            key(match &object.0 {
                Ok(object) => object.meta(),
                Err(invalid) => &invalid.metadata,
            }),
        ),
        // It is told of and counted already, and tried again, slower each time.
        Err(_) => return None,
    })
}

fn entity<E: Entity>(object: DeserializeGuard<E::Resource>) -> Object<E> {
    match object.0 {
        Ok(resource) => Object::Entity(Box::new(E::entry(&resource))),
        Err(invalid) => Object::UnreadableEntity(Box::new(Unreadable {
            key: key(&invalid.metadata),
            metadata: invalid.metadata,
            error: invalid.error,
        })),
    }
}

fn cluster<E: Entity>(object: DeserializeGuard<KafkaCluster>, settings: &Settings) -> Object<E> {
    match object.0 {
        Ok(cluster) => Object::Cluster(Key::of(&cluster), ClusterState::new(&cluster, settings)),
        Err(invalid) => Object::UnreadableCluster(key(&invalid.metadata)),
    }
}

fn key(metadata: &ObjectMeta) -> Key {
    let namespace = metadata.namespace.clone().unwrap_or_default();
    Key::new(namespace, metadata.name.clone().unwrap_or_default())
}

impl<E: Entity> Object<E> {
    pub fn key(&self) -> Key {
        match self {
            Object::Entity(entry) => entry.key(),
            Object::Cluster(key, _) | Object::UnreadableCluster(key) => key.clone(),
            Object::UnreadableEntity(unreadable) => unreadable.key.clone(),
        }
    }
}
