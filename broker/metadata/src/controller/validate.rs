//! The controller's invariants, asserted after every event where debug assertions are on: in tests
//! and simulations.

use super::{Controller, Outcome};
use crate::image::Image;

/// An image with more partitions than that is not looked through after each request.
const PARTITIONS_LOOKED_THROUGH: usize = 256;

impl Controller {
    /// Panics when an invariant of the soft state is broken.
    pub(super) fn validate(&self) {
        if cfg!(debug_assertions) {
            self.liveness.validate();
        }
    }
}

impl Outcome {
    /// Panics when the records do not lead from the image `before` to the one that the next request
    /// is validated against, or lead from a good image to one that breaks a rule.
    pub(super) fn validate(&self, before: &Image) {
        let partitions = || self.image.topics().map(|topic| topic.partitions.len());
        if !cfg!(debug_assertions) || partitions().sum::<usize>() > PARTITIONS_LOOKED_THROUGH {
            return;
        }
        if self.records.is_empty() {
            assert!(self.image == *before, "an image changed without a record");
            return;
        }
        let replayed = before.with(&self.records);
        let same = replayed.as_ref().is_ok_and(|replayed| *replayed == self.image);
        assert!(same, "the records lead to another image: {:?}", self.records);
        let broken = self.image.validate().err().filter(|_| before.validate().is_ok());
        assert_eq!(broken, None, "after {:?}", self.records);
    }
}

#[cfg(test)]
mod tests {
    use base::BrokerId;

    use super::super::tests::World;
    use super::*;
    use crate::record::{MetadataRecord, ProducerIdsRecord};
    use crate::request::ControllerResponse;

    fn outcome(world: &World) -> Outcome {
        let (records, image) = (Vec::new(), world.image.clone());
        let response = ControllerResponse::UnregisterBroker;
        Outcome { records, response, voters: None, image }
    }

    #[test]
    #[should_panic(expected = "an image changed without a record")]
    fn an_image_that_no_record_explains_is_seen() {
        let world = World::new(1);
        let mut outcome = outcome(&world);
        outcome.image.next_producer_id += 1;
        outcome.validate(&world.image);
    }

    #[test]
    #[should_panic(expected = "the records lead to another image")]
    fn a_record_that_the_image_lacks_is_seen() {
        let world = World::new(1);
        let mut outcome = outcome(&world);
        let next_producer_id = world.image.next_producer_id() + 1;
        let (broker_id, broker_epoch) = (BrokerId(1), 1);
        let record = ProducerIdsRecord { broker_id, broker_epoch, next_producer_id };
        outcome.records.push(MetadataRecord::ProducerIds(record));
        outcome.validate(&world.image);
    }
}
