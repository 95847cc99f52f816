//! The string type of messages. It owns its text (one shared allocation) instead of slicing the
//! frame: a member id kept by a coordinator for hours must not keep a megabyte of frame alive, and
//! a topic name becomes a `TopicPartition` key without a copy.

use std::borrow::Borrow;
use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

/// Cheap to clone, immutable text. Derefs to `str`; converts to and from `Arc<str>` without a copy.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Str(Arc<str>);

impl Str {
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The shared text, e.g. for `base::TopicPartition`.
    pub fn into_arc(self) -> Arc<str> {
        self.0
    }

    pub fn to_arc(&self) -> Arc<str> {
        self.0.clone()
    }
}

impl Deref for Str {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl AsRef<str> for Str {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

/// Lets a map keyed by `Str` be searched with a `&str`.
impl Borrow<str> for Str {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl From<&str> for Str {
    fn from(text: &str) -> Str {
        // The empty text is shared; making one would allocate.
        if text.is_empty() { Str::default() } else { Str(text.into()) }
    }
}

impl From<String> for Str {
    fn from(text: String) -> Str {
        Str(text.into())
    }
}

impl From<&String> for Str {
    fn from(text: &String) -> Str {
        Str(text.as_str().into())
    }
}

impl From<Arc<str>> for Str {
    fn from(text: Arc<str>) -> Str {
        Str(text)
    }
}

impl From<&Arc<str>> for Str {
    fn from(text: &Arc<str>) -> Str {
        Str(text.clone())
    }
}

impl From<Str> for Arc<str> {
    fn from(text: Str) -> Arc<str> {
        text.0
    }
}

impl From<Str> for String {
    fn from(text: Str) -> String {
        text.0.as_ref().to_owned()
    }
}

impl PartialEq<str> for Str {
    fn eq(&self, other: &str) -> bool {
        &*self.0 == other
    }
}

impl PartialEq<&str> for Str {
    fn eq(&self, other: &&str) -> bool {
        &*self.0 == *other
    }
}

impl PartialEq<Str> for str {
    fn eq(&self, other: &Str) -> bool {
        self == &*other.0
    }
}

impl PartialEq<Str> for &str {
    fn eq(&self, other: &Str) -> bool {
        *self == &*other.0
    }
}

impl PartialEq<String> for Str {
    fn eq(&self, other: &String) -> bool {
        &*self.0 == other.as_str()
    }
}

impl fmt::Display for Str {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&*self.0, f)
    }
}

impl fmt::Debug for Str {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}
