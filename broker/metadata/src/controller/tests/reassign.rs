//! Tests of reassignments.

use super::*;

fn reassign(
    world: &mut World,
    replicas: Option<&[i32]>,
    may_resize: bool,
) -> Result<(), ErrorCode> {
    let replicas = replicas.map(ids);
    let partitions = vec![ReassignPartition { topic: "t".into(), partition: 0, replicas }];
    let allow_replication_factor_change = may_resize;
    let request = AlterReassignmentsRequest { partitions, allow_replication_factor_change };
    match world.ask(ControllerRequest::AlterPartitionReassignments(request)) {
        ControllerResponse::AlterPartitionReassignments(mut results) => {
            results.remove(0).result.map_err(|e| e.code)
        }
        other => panic!("{other:?}"),
    }
}

fn ongoing(world: &mut World) -> Vec<OngoingReassignment> {
    let request = ListReassignmentsRequest { partitions: None };
    match world.ask(ControllerRequest::ListPartitionReassignments(request)) {
        ControllerResponse::ListPartitionReassignments(list) => list,
        other => panic!("{other:?}"),
    }
}

fn world() -> World {
    let mut world = World::new(6);
    world.topic("t", &[1, 2, 3], &[]);
    world
}

#[test]
fn replicas_are_added_first_and_removed_once_they_are_in_sync() {
    let mut world = world();
    reassign(&mut world, Some(&[4, 5, 6]), false).unwrap();
    let expected = OngoingReassignment {
        topic: "t".into(),
        partition: 0,
        replicas: ids(&[4, 5, 6, 1, 2, 3]),
        adding: ids(&[4, 5, 6]),
        removing: ids(&[1, 2, 3]),
    };
    assert_eq!(ongoing(&mut world), [expected]);
    assert_eq!(world.state("t"), (1, vec![1, 2, 3], vec![]));
    world.set_isr("t", &[1, 2, 3, 4, 5]);
    let epoch = world.partition("t").leader_epoch;
    let last = world.proposal("t", &[1, 2, 3, 4, 5, 6]);
    assert_eq!(world.alter_isr(last), Err(ErrorCode::NewLeaderElected));
    assert_eq!(world.state("t"), (4, vec![4, 5, 6], vec![]));
    assert_eq!(world.partition("t").replicas, ids(&[4, 5, 6]));
    assert_eq!(world.partition("t").leader_epoch, epoch + 1);
    assert_eq!(ongoing(&mut world), []);
}

#[test]
fn a_leader_that_stays_gets_a_new_epoch_when_replicas_go() {
    let mut world = world();
    reassign(&mut world, Some(&[1, 2, 4]), false).unwrap();
    let epoch = world.partition("t").leader_epoch;
    world.set_isr("t", &[1, 2, 3, 4]);
    assert_eq!(world.state("t"), (1, vec![1, 2, 4], vec![]));
    assert_eq!(world.partition("t").leader_epoch, epoch + 1);
}

#[test]
fn removal_alone_and_reordering_are_immediate() {
    let mut world = world();
    reassign(&mut world, Some(&[3, 2]), true).unwrap();
    assert_eq!(world.state("t"), (3, vec![2, 3], vec![]), "the new first replica leads");
    reassign(&mut world, Some(&[2, 3]), true).unwrap();
    assert_eq!(world.state("t"), (3, vec![2, 3], vec![]), "a leader that can stay stays");
    assert_eq!(world.partition("t").replicas, ids(&[2, 3]));
}

#[test]
fn a_reassignment_can_be_replaced_and_cancelled() {
    let mut world = world();
    assert_eq!(reassign(&mut world, None, true), Err(ErrorCode::NoReassignmentInProgress));
    reassign(&mut world, Some(&[1, 2, 4]), true).unwrap();
    reassign(&mut world, Some(&[1, 2, 5]), true).unwrap();
    let p = world.partition("t");
    assert_eq!((p.adding.clone(), p.removing.clone()), (ids(&[5]), ids(&[4, 3])));
    // An addition that a further change keeps still has to get in sync.
    reassign(&mut world, Some(&[5, 1]), true).unwrap();
    assert_eq!(world.partition("t").adding, ids(&[5]));
    reassign(&mut world, None, true).unwrap();
    let p = world.partition("t");
    assert!(!p.is_reassigning());
    assert!([1, 2, 3].iter().all(|id| p.is_replica(b(*id))) && !p.is_replica(b(5)));
    assert_eq!(world.state("t").0, 1);
}

#[test]
fn a_cancellation_never_costs_committed_records() {
    let mut world = world();
    reassign(&mut world, Some(&[4]), true).unwrap();
    let request = world.proposal("t", &[1]);
    world.alter_isr(request).unwrap();
    reassign(&mut world, Some(&[4, 5]), true).unwrap();
    world.set_isr("t", &[1, 4]);
    world.kill(&[1]);
    assert_eq!(world.state("t").0, 4);
    assert_eq!(reassign(&mut world, None, true), Err(ErrorCode::InvalidReplicaAssignment));
    assert!(world.partition("t").is_reassigning());
}

/// Found by the simulator (seed 4464): a cancellation left to one broker what two had promised.
#[test]
fn a_cancellation_waits_for_enough_in_sync() {
    let mut world = World::new(6);
    world.topic("t", &[1, 2], &[("min.insync.replicas", "2")]);
    reassign(&mut world, Some(&[4, 2]), true).unwrap();
    world.set_isr("t", &[1, 4]);
    reassign(&mut world, None, true).unwrap();
    let p = world.partition("t");
    assert_eq!((p.isr.clone(), p.adding.clone()), (ids(&[1, 4]), ids(&[])));
    assert_eq!(p.removing, ids(&[4]));
    world.set_isr("t", &[1, 4, 2]);
    let p = world.partition("t");
    assert_eq!((p.replicas.clone(), p.isr.clone()), (ids(&[2, 1]), ids(&[1, 2])));
    assert!(!p.is_reassigning());
}

#[test]
fn bad_targets_are_refused() {
    let mut world = world();
    let invalid = Err(ErrorCode::InvalidReplicaAssignment);
    assert_eq!(reassign(&mut world, Some(&[]), true), invalid);
    assert_eq!(reassign(&mut world, Some(&[4, 4]), true), invalid);
    assert_eq!(reassign(&mut world, Some(&[9]), true), invalid);
    let resized = reassign(&mut world, Some(&[1, 2]), false);
    assert_eq!(resized, Err(ErrorCode::InvalidReplicationFactor));
    let before = world.image.clone();
    assert_eq!(reassign(&mut world, Some(&[1, 2, 3]), false), Ok(()));
    assert_eq!(world.image, before, "nothing to do");
}

#[test]
fn replicas_in_sync_leave_only_when_enough_others_are() {
    let mut world = World::new(6);
    world.topic("t", &[1, 2, 3], &[("min.insync.replicas", "2")]);
    world.set_isr("t", &[1, 2]);
    // Broker 3 is behind: without 2, broker 1 alone would have what was promised to be on two.
    reassign(&mut world, Some(&[1, 3]), true).unwrap();
    assert_eq!(world.partition("t").removing, ids(&[2]));
    assert_eq!(world.state("t"), (1, vec![1, 2], vec![]));
    world.set_isr("t", &[1, 2, 3]);
    assert_eq!(world.state("t"), (1, vec![1, 3], vec![]));
    assert!(!world.partition("t").is_reassigning());
    // Who is not in sync may leave at any time.
    world.set_isr("t", &[1]);
    reassign(&mut world, Some(&[1]), true).unwrap();
    assert_eq!(world.partition("t").replicas, ids(&[1]));
}

#[test]
fn who_is_fenced_while_it_is_removed_leaves_only_when_enough_others_are_in_sync() {
    let mut world = World::new(6);
    world.topic("t", &[1, 2, 3], &[("min.insync.replicas", "2")]);
    world.set_isr("t", &[1, 2]);
    reassign(&mut world, Some(&[1, 3]), true).unwrap();
    // Were 2 gone for good now, 1 alone would have what was promised to be on two.
    world.kill(&[2]);
    assert_eq!(world.state("t"), (1, vec![1], vec![2]));
    assert_eq!(world.partition("t").removing, ids(&[2]));
    world.set_isr("t", &[1, 3]);
    assert_eq!(world.state("t"), (1, vec![1, 3], vec![]));
    assert!(!world.partition("t").is_reassigning());
}
