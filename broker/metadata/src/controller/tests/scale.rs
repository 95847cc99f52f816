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
    world.controller.process_ended(1, 0);
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
    // Leaderships move first, and whatever part is committed alone leaves right metadata, in
    // which the broker is fenced by whoever is the controller then.
    let moved = |record: &MetadataRecord| match record {
        MetadataRecord::PartitionChange(change) => !change.leader.is_unchanged(),
        _ => false,
    };
    let moves = records.iter().filter(|record| moved(record)).count();
    assert!(moves > 1_000 && records[..moves].iter().all(moved));
    for part in [1, moves / 2, moves, touched] {
        let mut image = old.clone();
        image.apply(image.offset() + 1, &records[..part]).unwrap();
        assert_eq!(image.validate(), Ok(()), "after {part} records");
        let (settings, epoch) = (world.controller.settings.clone(), 2);
        let (mut next, begin) = Controller::activate(settings, b(2), epoch, &image, 200);
        image.apply(image.offset() + 1, &begin).unwrap();
        let rest = (200..4_000).step_by(50).find_map(|now| {
            (2..=6).for_each(|id| {
                let epoch = image.broker(b(id)).unwrap().epoch;
                next.liveness.heartbeat(b(id), epoch, Some(id as u64), 0, now);
            });
            Some(next.tick(&image, now)).filter(|records| !records.is_empty())
        });
        let rest = rest.expect("the next controller fences it");
        assert_eq!(rest.len(), touched - part + 1);
        image.apply(image.offset() + 1, &rest).unwrap();
        assert_eq!(image.validate(), Ok(()));
        assert_eq!(image.partitions_at_stake(b(1)).count(), 0);
    }
    assert_eq!(world.image.partitions_at_stake(b(1)).count(), 0);
}
