//! Tests at scale: what one broker's death costs with tens of thousands of partitions.

use std::time::Instant;

use super::*;
use crate::changes_between;

#[test]
#[allow(clippy::disallowed_methods)] // a measurement
fn fencing_among_many_partitions_costs_what_it_changes() {
    let mut world = World::new(6);
    for chunk in 0..10 {
        let topic = |n: i32| CreateTopic {
            name: format!("topic-{}", chunk * 1000 + n).into(),
            partitions: 3,
            replication_factor: 3,
            assignments: Vec::new(),
            configs: Vec::new(),
        };
        let topics = (0..1000).map(topic).collect();
        let request = CreateTopicsRequest { topics, validate_only: false };
        let caller = Caller::default();
        let request = ControllerRequest::CreateTopics(request);
        let outcome = world.controller.handle(&world.image, 0, caller, &mut world.entropy, request);
        world.image.apply(world.image.offset() + 1, &outcome.records).unwrap();
    }
    assert_eq!(world.image.topic_count(), 10_000);
    (1..=6).for_each(|id| {
        let request = world.heartbeat_of(id);
        world.controller.liveness.heartbeat(b(id), request.broker_epoch, Some(id as u64), 0, 0);
    });
    world.controller.session_closed(1, 0);
    let (old, started) = (world.image.clone(), Instant::now());
    let records = world.controller.tick(&world.image, 100);
    let decided = started.elapsed();
    world.image.apply(world.image.offset() + 1, &records).unwrap();
    let applied = started.elapsed();
    let changes = changes_between(&old, &world.image);
    let compared = started.elapsed();
    let bytes = encode_records(&records).len();
    println!("decided {decided:?} applied {applied:?} compared {compared:?} in {bytes} bytes");
    let touched = old.partitions_at_stake(b(1)).count();
    assert!(touched > 10_000);
    assert_eq!(changes.partitions.len(), touched);
    assert_eq!(records.len(), touched + 1);
    assert_eq!(world.image.validate(), Ok(()));
    assert_eq!(world.image.partitions_at_stake(b(1)).count(), 0);
}
