//! Tests of the controller: a world of one controller and its committed image, in which every
//! request's records are committed at once and all invariants are checked after each.

mod acls;
mod brokers;
mod configs;
mod elections;
mod features;
mod isr;
mod offline;
mod property;
mod quotas;
mod reassign;
mod scale;
mod scram;
mod stops;
mod topics;

use std::collections::BTreeMap;
use std::sync::Arc;

use base::{BrokerEpoch, ErrorCode, TopicId};

use super::*;
use crate::image::Partition;
use crate::record::{ConfigResource, Endpoint};
use crate::request::*;
use crate::{decode_records, encode_records};

#[derive(Clone)]
pub(super) struct World {
    pub controller: Controller,
    pub image: Image,
    pub now: i64,
    pub entropy: Entropy,
    incarnations: u8,
}

pub(super) fn b(id: i32) -> BrokerId {
    BrokerId(id)
}

pub(super) fn ids(ids: &[i32]) -> Vec<BrokerId> {
    ids.iter().copied().map(BrokerId).collect()
}

impl World {
    /// Brokers 1 to `count`, registered and unfenced.
    pub fn new(count: i32) -> World {
        let mut world = World::with_settings(ControllerSettings::default());
        (1..=count).for_each(|id| world.start(id));
        world
    }

    pub fn with_settings(settings: ControllerSettings) -> World {
        let image = Image::new("cluster");
        let (controller, records) = Controller::activate(settings, b(1), 1, &image, 0);
        let entropy = Entropy::from_seed(1);
        let mut world = World { controller, image, now: 0, entropy, incarnations: 0 };
        world.commit(&records);
        world
    }

    /// Commits records as the quorum does, with every check that holds for any records.
    pub fn commit(&mut self, records: &[MetadataRecord]) {
        if records.is_empty() {
            return;
        }
        let stored = decode_records(&encode_records(records)).unwrap();
        let before = self.image.clone();
        self.image.apply(self.image.offset() + 1, &stored).unwrap();
        assert_eq!(self.image.validate(), Ok(()), "after {records:?}");
        assert_epochs_grow(&before, &self.image);
    }

    pub fn ask(&mut self, request: ControllerRequest) -> ControllerResponse {
        self.ask_over(None, request)
    }

    pub fn ask_over(
        &mut self,
        session: Option<SessionId>,
        request: ControllerRequest,
    ) -> ControllerResponse {
        let caller = Caller { session };
        let outcome =
            self.controller.handle(&self.image, self.now, caller, &mut self.entropy, request);
        self.commit(&outcome.records);
        assert_eq!(outcome.image, self.image, "the working image is what gets committed");
        outcome.response
    }

    /// Time passes; `beating` brokers send heartbeats every 50 ms, ticks come as demanded.
    pub fn pass(&mut self, ms: i64, beating: &[i32]) {
        let end = self.now + ms;
        while self.now < end {
            self.now += 50;
            beating.iter().for_each(|id| {
                self.beat(*id);
            });
            let records = self.controller.tick(&self.image, self.now);
            self.commit(&records);
        }
    }

    pub fn registration(&mut self, id: i32) -> RegisterBrokerRequest {
        self.incarnations += 1;
        RegisterBrokerRequest {
            broker_id: b(id),
            cluster_id: "cluster".into(),
            incarnation_id: TopicId([self.incarnations; 16]),
            listeners: vec![Endpoint {
                name: "PLAINTEXT".into(),
                host: "localhost".into(),
                port: 9000 + id as u16,
                security_protocol: "PLAINTEXT".into(),
            }],
            rack: None,
            log_dirs: vec![TopicId([id as u8 + 100; 16])],
            log_dir_paths: Vec::new(),
            cordoned_log_dirs: "".into(),
            clean_shutdown_epoch: None,
            supports: crate::LEVEL_MAX,
        }
    }

    pub fn register(&mut self, request: RegisterBrokerRequest) -> Result<BrokerEpoch, ErrorCode> {
        let session = Some(request.broker_id.0 as u64 * 1000 + u64::from(self.incarnations));
        match self.ask_over(session, ControllerRequest::RegisterBroker(request)) {
            ControllerResponse::RegisterBroker(response) => Ok(response.broker_epoch),
            ControllerResponse::Error(error) => Err(error.code),
            other => panic!("{other:?}"),
        }
    }

    /// A new incarnation registers and is unfenced.
    pub fn start(&mut self, id: i32) {
        let request = self.registration(id);
        self.register(request).unwrap();
        assert!(!self.beat(id).fenced);
    }

    pub fn epoch(&self, id: i32) -> BrokerEpoch {
        self.image.broker(b(id)).unwrap().epoch
    }

    pub fn heartbeat(&mut self, request: HeartbeatRequest) -> Result<HeartbeatResponse, ErrorCode> {
        let session = Some(request.broker_id.0 as u64);
        match self.ask_over(session, ControllerRequest::Heartbeat(request)) {
            ControllerResponse::Heartbeat(response) => Ok(response),
            ControllerResponse::Error(error) => Err(error.code),
            other => panic!("{other:?}"),
        }
    }

    pub fn heartbeat_of(&self, id: i32) -> HeartbeatRequest {
        HeartbeatRequest {
            broker_id: b(id),
            broker_epoch: self.epoch(id),
            image_offset: self.image.offset(),
            want_fence: false,
            want_shutdown: false,
            offline: Vec::new(),
            supports: crate::LEVEL_MAX,
        }
    }

    pub fn beat(&mut self, id: i32) -> HeartbeatResponse {
        let request = self.heartbeat_of(id);
        self.heartbeat(request).unwrap()
    }

    /// The brokers die together: their sessions break and the grace passes, or, where they are more
    /// than half of all, the time of silence.
    pub fn kill(&mut self, dead: &[i32]) {
        let unfenced = self.image.brokers().filter(|b| !b.fenced).map(|b| b.id.0);
        let alive: Vec<i32> = unfenced.filter(|id| !dead.contains(id)).collect();
        dead.iter().for_each(|id| {
            self.beat(*id);
        });
        for id in dead {
            self.controller.session_closed(*id as u64, self.now);
            self.controller.process_ended(*id as u64, self.now);
        }
        self.pass(100, &alive);
        for _ in 0..60 {
            if dead.iter().all(|id| self.image.broker(b(*id)).unwrap().fenced) {
                return;
            }
            self.pass(50, &alive);
        }
        panic!("not fenced: {dead:?}");
    }

    /// A topic with one partition on these replicas.
    pub fn topic(&mut self, name: &str, replicas: &[i32], configs: &[(&str, &str)]) -> TopicId {
        let assignment = Assignment { partition: 0, replicas: ids(replicas) };
        let topic = CreateTopic {
            name: name.into(),
            partitions: -1,
            replication_factor: -1,
            assignments: vec![assignment],
            configs: configs.iter().map(|(k, v)| ((*k).into(), Some((*v).into()))).collect(),
        };
        self.create(topic).unwrap().topic_id
    }

    pub fn create(&mut self, topic: CreateTopic) -> Result<CreatedTopic, ErrorCode> {
        let request = CreateTopicsRequest { topics: vec![topic], validate_only: false };
        match self.ask(ControllerRequest::CreateTopics(request)) {
            ControllerResponse::CreateTopics(mut results) => {
                results.remove(0).result.map_err(|e| e.code)
            }
            ControllerResponse::Error(error) => Err(error.code),
            other => panic!("{other:?}"),
        }
    }

    pub fn partition(&self, topic: &str) -> &Partition {
        self.image.partition(topic, 0).unwrap()
    }

    /// (leader, ISR, ELR) of partition 0; leader 0 is nobody.
    pub fn state(&self, topic: &str) -> (i32, Vec<i32>, Vec<i32>) {
        let p = self.partition(topic);
        let numbers = |ids: &[BrokerId]| ids.iter().map(|b| b.0).collect();
        (p.leader.map_or(0, |b| b.0), numbers(&p.isr), numbers(&p.elr))
    }

    /// A correct proposal of the current leader.
    pub fn proposal(&self, topic: &str, isr: &[i32]) -> AlterIsrRequest {
        let p = self.partition(topic);
        let leader = p.leader.unwrap();
        let member = |id: &i32| IsrMember { broker_id: b(*id), broker_epoch: self.epoch(*id) };
        AlterIsrRequest {
            broker_id: leader,
            broker_epoch: self.epoch(leader.0),
            partitions: vec![AlterIsrPartition {
                topic_id: self.image.topic(topic).unwrap().id,
                partition: 0,
                leader_epoch: p.leader_epoch,
                partition_epoch: p.partition_epoch,
                isr: isr.iter().map(member).collect(),
                leader_recovery_state: Default::default(),
            }],
        }
    }

    pub fn alter_isr(&mut self, request: AlterIsrRequest) -> Result<PartitionIsr, ErrorCode> {
        match self.ask(ControllerRequest::AlterIsr(request)) {
            ControllerResponse::AlterIsr(mut response) => response.partitions.remove(0).result,
            ControllerResponse::Error(error) => Err(error.code),
            other => panic!("{other:?}"),
        }
    }

    pub fn set_isr(&mut self, topic: &str, isr: &[i32]) {
        let request = self.proposal(topic, isr);
        self.alter_isr(request).unwrap();
    }

    pub fn set_config(&mut self, resource: ConfigResource, name: &str, value: &str) {
        let op = ConfigOp { name: name.into(), kind: ConfigOpKind::Set, value: Some(value.into()) };
        assert_eq!(self.alter_config(resource, vec![op]), Ok(()));
    }

    pub fn alter_config(
        &mut self,
        resource: ConfigResource,
        ops: Vec<ConfigOp>,
    ) -> Result<(), ErrorCode> {
        let resources = vec![IncrementalAlterConfigs { resource, ops }];
        let request = IncrementalAlterConfigsRequest { resources, validate_only: false };
        match self.ask(ControllerRequest::IncrementalAlterConfigs(request)) {
            ControllerResponse::IncrementalAlterConfigs(mut results) => {
                results.remove(0).result.map_err(|e| e.code)
            }
            other => panic!("{other:?}"),
        }
    }
}

fn assert_epochs_grow(before: &Image, after: &Image) {
    for topic in before.topics() {
        let Some(now) = after.topic_by_id(topic.id) else { continue };
        for (old, new) in topic.partitions.iter().zip(&now.partitions) {
            assert!(new.partition_epoch >= old.partition_epoch);
            assert!(new.leader_epoch >= old.leader_epoch);
            assert_eq!(old == new, new.partition_epoch == old.partition_epoch);
            if old.leader != new.leader {
                assert!(new.leader_epoch > old.leader_epoch, "one leader per epoch");
            }
        }
    }
    for broker in before.brokers() {
        assert!(after.broker(broker.id).is_none_or(|b| b.epoch >= broker.epoch));
    }
}
