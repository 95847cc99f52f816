//! Property: whatever is asked in whatever order, the invariants hold after every commit (the
//! world checks them), and replaying the log, or a snapshot and the rest of the log, gives the
//! same image.

use proptest::prelude::*;

use super::*;

#[derive(Clone, Debug)]
enum Step {
    Start { id: i32, clean: bool },
    Beat { id: i32, shutdown: bool, fence: bool },
    Offline { id: i32, topic: u8 },
    Break { id: i32 },
    Pass { ms: i64 },
    NewController { id: i32 },
    Unregister { id: i32 },
    Create { topic: u8, partitions: i32, replication_factor: i16, min_isr: i32 },
    Delete { topic: u8 },
    Grow { topic: u8, count: i32 },
    Isr { topic: u8, members: Vec<i32>, stale: bool },
    Config { topic: u8, unclean: bool, min_isr: i32 },
    Elect { unclean: bool },
    Reassign { topic: u8, replicas: Option<Vec<i32>> },
}

fn step() -> impl Strategy<Value = Step> {
    let id = 1..=4i32;
    let topic = 0..3u8;
    let members = prop::collection::vec(1..=4i32, 0..4);
    prop_oneof![
        3 => (id.clone(), any::<bool>()).prop_map(|(id, clean)| Step::Start { id, clean }),
        4 => (id.clone(), prop::bool::weighted(0.2), prop::bool::weighted(0.1))
            .prop_map(|(id, shutdown, fence)| Step::Beat { id, shutdown, fence }),
        2 => (id.clone(), topic.clone()).prop_map(|(id, topic)| Step::Offline { id, topic }),
        3 => id.clone().prop_map(|id| Step::Break { id }),
        3 => (1..=1500i64).prop_map(|ms| Step::Pass { ms }),
        1 => id.clone().prop_map(|id| Step::NewController { id }),
        1 => id.prop_map(|id| Step::Unregister { id }),
        3 => (topic.clone(), 1..=3i32, 1..=4i16, 1..=3i32).prop_map(
            |(topic, partitions, replication_factor, min_isr)| Step::Create {
                topic,
                partitions,
                replication_factor,
                min_isr
            }
        ),
        1 => topic.clone().prop_map(|topic| Step::Delete { topic }),
        1 => (topic.clone(), 1..=5i32).prop_map(|(topic, count)| Step::Grow { topic, count }),
        5 => (topic.clone(), members.clone(), prop::bool::weighted(0.1))
            .prop_map(|(topic, members, stale)| Step::Isr { topic, members, stale }),
        1 => (topic.clone(), any::<bool>(), 1..=3i32)
            .prop_map(|(topic, unclean, min_isr)| Step::Config { topic, unclean, min_isr }),
        1 => any::<bool>().prop_map(|unclean| Step::Elect { unclean }),
        3 => (topic, prop::option::weighted(0.8, members))
            .prop_map(|(topic, replicas)| Step::Reassign { topic, replicas }),
    ]
}

fn name(topic: u8) -> Arc<str> {
    format!("t.{topic}").into()
}

impl World {
    fn take(&mut self, step: Step, log: &mut Vec<Vec<MetadataRecord>>) {
        let request = match step {
            Step::Pass { ms } => {
                self.now += ms.min(250);
                let records = self.controller.tick(&self.image, self.now);
                return self.commit_logged(records, log);
            }
            Step::Break { id } => {
                self.controller.session_closed(id as u64, self.now);
                return self.controller.process_ended(id as u64, self.now);
            }
            Step::NewController { id } => {
                let settings = ControllerSettings::default();
                let epoch = self.image.controller_epoch() + 1;
                let (controller, records) =
                    Controller::activate(settings, b(id), epoch, &self.image, self.now);
                self.controller = controller;
                return self.commit_logged(records, log);
            }
            other => self.request(other),
        };
        let Some((session, request)) = request else { return };
        let caller = Caller { session };
        let outcome =
            self.controller.handle(&self.image, self.now, caller, &mut self.entropy, request);
        self.commit_logged(outcome.records, log);
        assert_eq!(outcome.image, self.image);
    }

    fn commit_logged(&mut self, records: Vec<MetadataRecord>, log: &mut Vec<Vec<MetadataRecord>>) {
        self.commit(&records);
        if !records.is_empty() {
            log.push(records);
        }
    }

    fn request(&mut self, step: Step) -> Option<(Option<SessionId>, ControllerRequest)> {
        let request = match step {
            Step::Start { id, clean } => {
                let epoch = self.image.broker(b(id)).map(|b| b.epoch).filter(|_| clean);
                let request = self.registration(id);
                let request = RegisterBrokerRequest { clean_shutdown_epoch: epoch, ..request };
                return Some((Some(id as u64), ControllerRequest::RegisterBroker(request)));
            }
            Step::Beat { id, shutdown, fence } => {
                self.image.broker(b(id))?;
                let (want_shutdown, want_fence) = (shutdown, fence);
                let request =
                    HeartbeatRequest { want_shutdown, want_fence, ..self.heartbeat_of(id) };
                return Some((Some(id as u64), ControllerRequest::Heartbeat(request)));
            }
            Step::Offline { id, topic } => {
                self.image.broker(b(id))?;
                let topic_id = self.image.topic(&name(topic))?.id;
                let offline = vec![OfflineReplicas { topic_id, partitions: vec![0, 2, 0] }];
                let request = HeartbeatRequest { offline, ..self.heartbeat_of(id) };
                return Some((Some(id as u64), ControllerRequest::Heartbeat(request)));
            }
            Step::Isr { topic, members, stale } => self.isr_request(topic, &members, stale)?,
            Step::Unregister { id } => {
                ControllerRequest::UnregisterBroker(UnregisterBrokerRequest { broker_id: b(id) })
            }
            Step::Create { topic, partitions, replication_factor, min_isr } => {
                let min_isr: Arc<str> = min_isr.to_string().into();
                let topic = CreateTopic {
                    name: name(topic),
                    partitions,
                    replication_factor,
                    assignments: Vec::new(),
                    configs: vec![("min.insync.replicas".into(), Some(min_isr))],
                };
                let topics = vec![topic];
                let validate_only = false;
                ControllerRequest::CreateTopics(CreateTopicsRequest { topics, validate_only })
            }
            Step::Delete { topic } => {
                let topics = vec![TopicSelector::Name(name(topic))];
                ControllerRequest::DeleteTopics(DeleteTopicsRequest { topics })
            }
            Step::Grow { topic, count } => {
                let topics = vec![GrowTopic { name: name(topic), count, assignments: None }];
                let request = CreatePartitionsRequest { topics, validate_only: false };
                ControllerRequest::CreatePartitions(request)
            }
            Step::Config { topic, unclean, min_isr } => config_request(topic, unclean, min_isr),
            Step::Elect { unclean } => {
                let election =
                    if unclean { ElectionType::Unclean } else { ElectionType::Preferred };
                let request = ElectLeadersRequest { election, partitions: None };
                ControllerRequest::ElectLeaders(request)
            }
            Step::Reassign { topic, replicas } => {
                let replicas = replicas.map(|list| ids(&list));
                let change = ReassignPartition { topic: name(topic), partition: 0, replicas };
                let request = AlterReassignmentsRequest {
                    partitions: vec![change],
                    allow_replication_factor_change: true,
                };
                ControllerRequest::AlterPartitionReassignments(request)
            }
            Step::Pass { .. } | Step::Break { .. } | Step::NewController { .. } => return None,
        };
        Some((None, request))
    }

    /// What a leader could propose: itself and some replicas, with their true epochs.
    fn isr_request(&self, topic: u8, members: &[i32], stale: bool) -> Option<ControllerRequest> {
        let name = name(topic);
        let partition = self.image.partition(&name, 0)?;
        let mut isr = vec![partition.leader?.0];
        for id in members {
            let known = self.image.broker(b(*id)).is_some();
            if known && partition.is_replica(b(*id)) && !isr.contains(id) {
                isr.push(*id);
            }
        }
        let mut request = self.proposal(&name, &isr);
        request.partitions[0].partition_epoch -= i32::from(stale);
        Some(ControllerRequest::AlterIsr(request))
    }
}

fn config_request(topic: u8, unclean: bool, min_isr: i32) -> ControllerRequest {
    let set = |name: &str, value: String| ConfigOp {
        name: name.into(),
        kind: ConfigOpKind::Set,
        value: Some(value.into()),
    };
    let ops = vec![
        set("unclean.leader.election.enable", unclean.to_string()),
        set("min.insync.replicas", min_isr.to_string()),
    ];
    let resources =
        vec![IncrementalAlterConfigs { resource: ConfigResource::Topic(name(topic)), ops }];
    let request = IncrementalAlterConfigsRequest { resources, validate_only: false };
    ControllerRequest::IncrementalAlterConfigs(request)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn any_order_of_requests_keeps_the_invariants(
        steps in prop::collection::vec(step(), 1..120),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut world = World::new(4);
        let start = world.image.clone();
        let mut log = Vec::new();
        steps.into_iter().for_each(|step| world.take(step, &mut log));
        let mut replayed = start;
        let cut = cut.index(log.len() + 1);
        for (index, records) in log.iter().enumerate() {
            if index == cut {
                replayed = Image::decode(&replayed.encode()).unwrap();
            }
            replayed.apply(replayed.offset() + 1, records).unwrap();
        }
        prop_assert_eq!(replayed.validate(), Ok(()));
        prop_assert_eq!(replayed, world.image);
    }
}
