//! The APIs this protocol version speaks: number, name, versions and header versions of each.

use std::ops::RangeInclusive;

/// Facts of one API, from the schema.
struct ApiFacts {
    name: &'static str,
    /// Stable versions that are encoded and decoded.
    versions: RangeInclusive<i16>,
    /// First version with compact encodings and tagged fields.
    flexible_since: Option<i16>,
}

/// Called by the generated code with the facts of every API, by number.
macro_rules! api_keys {
    ($($name:ident = $key:literal, $versions:expr, $flexible_since:expr;)*) => {
        /// An API of the protocol, as its number on the wire.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        #[repr(i16)]
        pub enum ApiKey {
            $($name = $key,)*
        }

        const ALL: &[ApiKey] = &[$(ApiKey::$name,)*];

        impl ApiKey {
            /// The API of a number from the wire; `None` where this protocol has no such API.
            pub fn from_i16(key: i16) -> Option<ApiKey> {
                match key {
                    $($key => Some(ApiKey::$name),)*
                    _ => None,
                }
            }

            fn facts(self) -> &'static ApiFacts {
                match self {
                    $(ApiKey::$name => &ApiFacts {
                        name: stringify!($name),
                        versions: $versions,
                        flexible_since: $flexible_since,
                    },)*
                }
            }
        }
    };
}

include!(concat!(env!("OUT_DIR"), "/api_key.rs"));

impl ApiKey {
    /// Every API, by number.
    pub fn all() -> impl Iterator<Item = ApiKey> {
        ALL.iter().copied()
    }

    /// The number on the wire.
    pub fn code(self) -> i16 {
        self as i16
    }

    pub fn name(self) -> &'static str {
        self.facts().name
    }

    /// The stable versions: what can be encoded and decoded.
    pub fn versions(self) -> RangeInclusive<i16> {
        self.facts().versions.clone()
    }

    pub fn supports(self, version: i16) -> bool {
        self.facts().versions.contains(&version)
    }

    /// The versions to state in an ApiVersions response. Produce starts at 0 there although
    /// requests below 3 are refused: librdkafka derives from it which codecs it may use
    /// (KAFKA-18659).
    pub fn advertised_versions(self) -> RangeInclusive<i16> {
        match self {
            ApiKey::Produce => 0..=*self.facts().versions.end(),
            _ => self.versions(),
        }
    }

    /// True if `version` uses compact encodings and tagged fields.
    pub fn is_flexible(self, version: i16) -> bool {
        self.facts().flexible_since.is_some_and(|since| version >= since)
    }

    /// The request header's version; defined for unsupported versions too, so that an ApiVersions
    /// request from the future can be answered.
    pub fn request_header_version(self, version: i16) -> i16 {
        if self.is_flexible(version) { 2 } else { 1 }
    }

    /// The response header's version. ApiVersions stays at 0: the client does not know yet what
    /// the broker speaks.
    pub fn response_header_version(self, version: i16) -> i16 {
        i16::from(self != ApiKey::ApiVersions && self.is_flexible(version))
    }
}

impl std::fmt::Display for ApiKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}
