//! The generated messages; see `schema/` for what they are made from and `gen/` for how.

// Generated code declares what some versions or structs do not need.
#![allow(unused_mut, unused_variables, clippy::all)]

use generated::*;

/// What every generated module uses.
#[allow(unused_imports)]
mod generated {
    pub(super) use std::ops::RangeInclusive;

    pub(super) use base::TopicId;
    pub(super) use bytes::Bytes;

    pub(super) use crate::{ApiKey, DecodeError, EncodeError, Reader, Records, Str, Writer};
}

/// The public face of a message: the codec with its version check.
macro_rules! message {
    ($name:ident, $versions:expr $(, $throttle:ident)?) => {
        impl $name {
            pub const VERSIONS: RangeInclusive<i16> = $versions;

            pub fn decode(r: &mut Reader, version: i16) -> Result<Self, DecodeError> {
                if !Self::VERSIONS.contains(&version) {
                    let message = stringify!($name);
                    return Err(DecodeError::UnsupportedVersion { message, version });
                }
                Self::read(r, version)
            }

            pub fn encode(&self, w: &mut Writer, version: i16) -> Result<(), EncodeError> {
                if !Self::VERSIONS.contains(&version) {
                    let message = stringify!($name);
                    return Err(EncodeError::UnsupportedVersion { message, version });
                }
                self.write(w, version)
            }
        }

        impl crate::Message for $name {
            const NAME: &'static str = stringify!($name);

            fn decode(r: &mut Reader, version: i16) -> Result<Self, DecodeError> {
                $name::decode(r, version)
            }

            fn encode(&self, w: &mut Writer, version: i16) -> Result<(), EncodeError> {
                $name::encode(self, w, version)
            }

            $(fn throttle_time_ms(&mut self) -> Option<&mut i32> {
                Some(&mut self.$throttle)
            })?
        }
    };
}

/// `API_KEY` of requests and responses; `RECORD_TYPE` of stored records, with which the bytes of
/// the key start.
macro_rules! number {
    ($name:ident, $constant:ident = $number:literal) => {
        impl $name {
            pub const $constant: i16 = $number;
        }
    };
}

macro_rules! request {
    ($name:ident, $api:ident, $response:ty) => {
        impl crate::Request for $name {
            type Response = $response;
            const KEY: ApiKey = ApiKey::$api;
        }
    };
}

macro_rules! any {
    ($(#[$doc:meta])* $any:ident { $($api:ident($body:ident))* }) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq)]
        pub enum $any {
            $($api($body),)*
        }

        impl $any {
            pub fn api_key(&self) -> ApiKey {
                match self {
                    $($any::$api(_) => ApiKey::$api,)*
                }
            }

            pub fn decode(
                key: ApiKey,
                version: i16,
                r: &mut Reader,
            ) -> Result<Self, DecodeError> {
                match key {
                    $(ApiKey::$api => $body::decode(r, version).map($any::$api),)*
                }
            }

            pub fn encode(&self, w: &mut Writer, version: i16) -> Result<(), EncodeError> {
                match self {
                    $($any::$api(body) => body.encode(w, version),)*
                }
            }
        }

        $(impl From<$body> for $any {
            fn from(body: $body) -> $any {
                $any::$api(body)
            }
        })*
    };
}

include!(concat!(env!("OUT_DIR"), "/messages.rs"));
