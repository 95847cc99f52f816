//! Chance: names that nobody else has.

use crate::simulation;

/// 128 bits that nobody can foresee, except for a simulation's seed.
pub fn bits() -> u128 {
    match simulation::current() {
        Some(simulation) => simulation.random(),
        None => uuid::Uuid::new_v4().as_u128(),
    }
}
