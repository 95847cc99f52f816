//! Tests of replicas whose log directory failed while their broker lives.

use super::*;

impl World {
    /// The broker tells that its replica of partition 0 cannot be used.
    fn goes_offline(&mut self, id: i32, topics: &[&str]) -> HeartbeatResponse {
        let replica = |topic: &&str| OfflineReplicas {
            topic_id: self.image.topic(topic).unwrap().id,
            partitions: vec![0],
        };
        let offline = topics.iter().map(replica).collect();
        let request = HeartbeatRequest { offline, ..self.heartbeat_of(id) };
        self.heartbeat(request).unwrap()
    }

    fn offline(&self, topic: &str) -> Vec<i32> {
        self.partition(topic).offline.iter().map(|b| b.0).collect()
    }
}

#[test]
fn a_failed_log_moves_its_leadership_at_once_and_no_other() {
    let mut world = World::new(3);
    world.topic("failed", &[1, 2, 3], &[]);
    world.topic("healthy", &[1, 2, 3], &[]);
    let response = world.goes_offline(1, &["failed"]);
    assert!(!response.fenced, "the broker serves what its other directories hold");
    assert_eq!(world.state("failed"), (2, vec![2, 3], vec![]));
    assert_eq!(world.state("healthy"), (1, vec![1, 2, 3], vec![]));
    assert_eq!(world.offline("failed"), [1]);
    let before = world.image.clone();
    world.goes_offline(1, &["failed"]);
    assert_eq!(world.image, before, "telling it twice changes nothing");
}

#[test]
fn an_offline_replica_is_never_let_in_or_elected() {
    let mut world = World::new(2);
    world.topic("t", &[1, 2], &[("unclean.leader.election.enable", "true")]);
    world.goes_offline(1, &["t"]);
    assert_eq!(world.state("t"), (2, vec![2], vec![]));
    let request = world.proposal("t", &[2, 1]);
    assert_eq!(world.alter_isr(request), Err(ErrorCode::IneligibleReplica));
    // Not even where nobody else is left and an unclean leader would be taken.
    world.kill(&[2]);
    assert_eq!(world.state("t").0, 0);
    let election = ElectionType::Unclean;
    world.ask(ControllerRequest::ElectLeaders(ElectLeadersRequest { election, partitions: None }));
    assert_eq!(world.state("t").0, 0);
    world.start(2);
    assert_eq!(world.state("t").0, 2);
}

#[test]
fn the_only_replica_leads_again_once_its_broker_came_back() {
    let mut world = World::new(2);
    world.topic("t", &[1], &[]);
    world.goes_offline(1, &["t"]);
    assert_eq!(world.state("t"), (0, vec![], vec![]));
    // Whoever is unfenced meanwhile does not bring it back.
    world.kill(&[2]);
    world.start(2);
    assert_eq!(world.state("t").0, 0);
    world.kill(&[1]);
    world.start(1);
    assert_eq!(world.state("t"), (1, vec![1], vec![]));
    assert!(world.offline("t").is_empty());
}

#[test]
fn a_directory_that_is_still_bad_after_the_restart_leads_nothing_when_unfenced() {
    let mut world = World::new(2);
    world.topic("t", &[1], &[]);
    world.goes_offline(1, &["t"]);
    world.kill(&[1]);
    let request = world.registration(1);
    world.register(request).unwrap();
    assert!(world.offline("t").is_empty(), "a new incarnation tells anew");
    assert!(!world.goes_offline(1, &["t"]).fenced);
    assert_eq!(world.state("t").0, 0);
    assert_eq!(world.offline("t"), [1]);
}

#[test]
fn it_is_not_eligible_for_what_it_may_have_lost() {
    let mut world = World::new(3);
    world.topic("t", &[1, 2], &[("min.insync.replicas", "2")]);
    world.goes_offline(1, &["t"]);
    assert_eq!(world.state("t"), (2, vec![2], vec![]), "out of the ISR and not in the ELR");
    world.topic("out", &[1, 2], &[("min.insync.replicas", "2")]);
    world.kill(&[1]);
    assert_eq!(world.state("out"), (2, vec![2], vec![1]));
    let request = world.registration(1);
    let clean_shutdown_epoch = Some(world.epoch(1));
    world.register(RegisterBrokerRequest { clean_shutdown_epoch, ..request }).unwrap();
    assert_eq!(world.state("out"), (2, vec![2], vec![1]), "after a clean stop it still is");
    world.goes_offline(1, &["out"]);
    assert_eq!(world.state("out"), (2, vec![2], vec![]));
}

#[test]
fn a_replica_that_is_moved_away_is_offline_no_more() {
    let mut world = World::new(3);
    world.topic("t", &[1, 2], &[]);
    world.goes_offline(1, &["t"]);
    let change =
        ReassignPartition { topic: "t".into(), partition: 0, replicas: Some(ids(&[3, 2])) };
    world.ask(ControllerRequest::AlterPartitionReassignments(AlterReassignmentsRequest {
        partitions: vec![change],
        allow_replication_factor_change: true,
    }));
    world.set_isr("t", &[2, 3]);
    assert_eq!(world.partition("t").replicas, ids(&[3, 2]));
    assert!(world.offline("t").is_empty());
}

#[test]
fn reports_of_what_is_not_there_change_nothing() {
    let mut world = World::new(2);
    let topic_id = world.topic("t", &[2], &[]);
    let before = world.image.clone();
    let unknown = OfflineReplicas { topic_id: TopicId([77; 16]), partitions: vec![0] };
    let strange = OfflineReplicas { topic_id, partitions: vec![0, 1, -1, i32::MAX] };
    let offline = vec![unknown, strange];
    let request = HeartbeatRequest { offline, ..world.heartbeat_of(1) };
    world.heartbeat(request).unwrap();
    assert_eq!(world.image, before, "no such topic, no such partition, no replica of this broker");
}

#[test]
fn a_controller_that_knows_no_offline_replicas_may_let_one_in() {
    let mut world = World::new(2);
    let topic_id = world.topic("t", &[1, 2], &[]);
    world.goes_offline(1, &["t"]);
    let partition_epoch = world.partition("t").partition_epoch + 1;
    let isr = Some(ids(&[2, 1]));
    let change = crate::record::PartitionChangeRecord {
        topic_id,
        partition_epoch,
        isr,
        ..Default::default()
    };
    world.commit(&[MetadataRecord::PartitionChange(change)]);
    assert!(world.offline("t").is_empty(), "and then the image is still one that holds");
    world.goes_offline(1, &["t"]);
    assert_eq!(world.offline("t"), [1]);
}
