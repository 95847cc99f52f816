//! The authorizer that a broker was started with, and how often it tells of denials.

use authorizer::{Authorizer, Sampler};
use parking_lot::Mutex;

/// Denials that are told per second; the others are counted.
const DENIALS_TOLD_MAX: u32 = 10;

/// The authorizer of a broker.
pub struct Authorization {
    pub(crate) authorizer: Authorizer,
    pub(crate) denials: Mutex<Sampler>,
}

impl Authorization {
    pub fn new(authorizer: Authorizer) -> Authorization {
        Authorization { authorizer, denials: Mutex::new(Sampler::new(DENIALS_TOLD_MAX)) }
    }
}
