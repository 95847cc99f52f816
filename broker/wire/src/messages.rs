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

include!(concat!(env!("OUT_DIR"), "/messages.rs"));
