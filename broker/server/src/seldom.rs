//! Lines about those who are refused: anybody can come ten thousand times a second, and must not
//! fill the disk with it.

use authorizer::Sampler;
use parking_lot::Mutex;
use process::clock;

/// Lets so many lines of a kind through in each second, and counts the others.
#[derive(Debug)]
pub struct Seldom(Mutex<Sampler>);

impl Seldom {
    pub const fn new(per_second_max: u32) -> Seldom {
        Seldom(Mutex::new(Sampler::new(per_second_max)))
    }

    /// Whether to tell now, and of how many before it nobody was told.
    pub fn take(&self) -> Option<u64> {
        self.0.lock().take(clock::monotonic_ms())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_not_told() {
        let seldom = Seldom::new(1);
        // Two of three are in the same second.
        let told = [(); 3].map(|()| seldom.take());
        assert!(told[0] == Some(0) && told.contains(&None), "{told:?}");
    }
}
