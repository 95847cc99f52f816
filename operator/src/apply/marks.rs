//! Objects that the API server keeps otherwise than they were applied: a policy that changes what
//! is written would be written against in every pass, for ever. What was applied is remembered
//! until something changes, on either side; an operator that begins anew applies each once more.

use std::collections::{BTreeMap, HashMap};

use kube::{Resource, ResourceExt};
use parking_lot::Mutex;

/// What was applied last, of one object.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Mark {
    /// Kind and name, for the user.
    what: String,
    hash: String,
    version: Version,
}

/// What tells that an object was changed: its generation, where it has one; a status is no change.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Version {
    Generation(i64),
    Resource(Option<String>),
}

/// By the uid of the owner, then of the object.
#[derive(Debug, Default)]
pub struct Marks(Mutex<HashMap<String, BTreeMap<String, Mark>>>);

impl Marks {
    /// Whether this was applied to the object as it is now, and was not kept.
    pub fn know<K: Resource<DynamicType = ()>>(&self, owner: &str, live: &K, hash: &str) -> bool {
        let marks = self.0.lock();
        let uid = live.uid().unwrap_or_default();
        let mark = marks.get(owner).and_then(|marks| marks.get(&uid));
        mark.is_some_and(|mark| mark.hash == hash && mark.version == version(live))
    }

    /// It was applied, and is not kept.
    pub fn note<K: Resource<DynamicType = ()>>(&self, owner: &str, live: &K, hash: &str) {
        let what = format!("{} {}", K::kind(&()), live.name_any());
        tracing::warn!(what, "the API server keeps it otherwise than it was applied");
        let mark = Mark { what, hash: hash.to_owned(), version: version(live) };
        let mut marks = self.0.lock();
        marks.entry(owner.to_owned()).or_default().insert(live.uid().unwrap_or_default(), mark);
    }

    /// It is as applied.
    pub fn forget<K: Resource<DynamicType = ()>>(&self, owner: &str, live: &K) {
        let mut marks = self.0.lock();
        if let Some(of_owner) = marks.get_mut(owner) {
            of_owner.remove(&live.uid().unwrap_or_default());
            if of_owner.is_empty() {
                marks.remove(owner);
            }
        }
    }

    /// Objects of an owner that are not kept as applied.
    pub fn of(&self, owner: &str) -> Vec<String> {
        let marks = self.0.lock();
        marks.get(owner).into_iter().flatten().map(|(_, mark)| mark.what.clone()).collect()
    }
}

fn version<K: Resource>(live: &K) -> Version {
    match live.meta().generation {
        Some(generation) => Version::Generation(generation),
        None => Version::Resource(live.resource_version()),
    }
}
