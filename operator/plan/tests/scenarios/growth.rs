//! Volumes that grow under brokers that cannot wait for a roll.

use plan::RestartReason;

use super::*;

#[test]
fn a_broker_that_its_full_disk_keeps_from_starting_is_replaced_once_there_is_room() {
    let world = cluster(3, 3, 0);
    let mut seen = world.observe(&[], Blind::default(), Lie::None);
    let full = BrokerId(1);
    let pod = seen.pods.get_mut(&full).unwrap();
    (pod.phase, pod.ready) = (PodPhase::CrashLoop, false);
    assert_eq!(plan::next_step(&seen).step, Step::Nothing, "another start would not help");

    let (created_ms, now_ms) = (seen.pods[&full].created_ms, seen.now_ms);
    let claim = seen.claims.get_mut(&full).unwrap();
    claim.resize_since_ms = Some(created_ms + 1);
    seen.now_ms = now_ms.max(created_ms + 1) + 300_000;
    let plan = plan::next_step(&seen);
    let reason = RestartReason::FileSystemResize;
    assert_eq!(plan.step, Step::Restart { brokers: vec![full], reason }, "{}", plan.message);
    assert!(plan.message.contains("its file system grows"), "{}", plan.message);

    seen.pods.get_mut(&full).unwrap().created_ms = created_ms + 2;
    assert_eq!(plan::next_step(&seen).step, Step::Nothing, "a start has not helped");
}
