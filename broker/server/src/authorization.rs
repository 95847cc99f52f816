//! The authorizer that a broker was started with, and how often it tells of denials.

use authorizer::Authorizer;

use crate::seldom::Seldom;

/// Denials that are told per second; the others are counted.
const DENIALS_TOLD_MAX: u32 = 10;

/// The authorizer of a broker.
pub struct Authorization {
    pub(crate) authorizer: Authorizer,
    pub(crate) denials: Seldom,
}

impl Authorization {
    pub fn new(authorizer: Authorizer) -> Authorization {
        Authorization { authorizer, denials: Seldom::new(DENIALS_TOLD_MAX) }
    }
}
