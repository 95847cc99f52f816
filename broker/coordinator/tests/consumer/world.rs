//! A shard with a log, a clock and a cluster of its own, and members that do as they are told.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use base::{ErrorCode, TopicId};
use coordinator::*;

use crate::cleaning::{Stored, replayed};

pub const GROUP: &str = "g";
pub const SESSION_MS: i64 = 45_000;
pub const REBALANCE_MS: i32 = 60_000;

/// Topics by name, with their sizes.
#[derive(Clone, Debug, Default)]
pub struct Topics(pub BTreeMap<Arc<str>, (TopicId, i32)>);

impl Cluster for Topics {
    fn topic(&self, name: &str) -> Option<TopicShape> {
        let (id, partitions) = *self.0.get(name)?;
        Some(TopicShape { id, partitions })
    }

    fn topic_name(&self, id: TopicId) -> Option<Arc<str>> {
        Some(self.0.iter().find(|(_, (of, _))| *of == id)?.0.clone())
    }

    fn for_each_topic(&self, act: &mut dyn FnMut(&Arc<str>)) {
        self.0.keys().for_each(act);
    }

    fn group_setting(&self, _group: &str, _key: &str) -> Option<i32> {
        None
    }
}

pub struct World {
    pub shard: GroupShard,
    pub config: GroupConfig,
    pub now_ms: i64,
    pub topics: Topics,
    pub log: Vec<(AppendId, GroupRecord)>,
    pub replies: BTreeMap<Ticket, GroupReply>,
    pub auto_commit: bool,
    /// Every append fails with this.
    pub append_error: Option<ErrorCode>,
    next_ticket: u64,
    next_topic: u8,
    last_append: AppendId,
}

impl World {
    pub fn new(topics: &[(&str, i32)]) -> World {
        let mut config = GroupConfig::kafka_defaults();
        config.consumer.assignment_interval_ms = 0;
        World::with(config, topics)
    }

    pub fn with(config: GroupConfig, topics: &[(&str, i32)]) -> World {
        let mut world = World {
            shard: GroupShard::new(config.clone()),
            config,
            now_ms: 1_000,
            topics: Topics::default(),
            log: Vec::new(),
            replies: BTreeMap::new(),
            auto_commit: true,
            append_error: None,
            next_ticket: 0,
            next_topic: 0,
            last_append: AppendId::default(),
        };
        for (name, partitions) in topics {
            world.create(name, *partitions);
        }
        world.shard.cluster_changed(Arc::new(world.topics.clone()));
        world.shard.start(world.now_ms, &mut Vec::new());
        world
    }

    /// Creates the topic anew, or gives it more partitions.
    pub fn create(&mut self, name: &str, partitions: i32) {
        self.next_topic += 1;
        let id = TopicId([self.next_topic; 16]);
        self.topics.0.entry(name.into()).or_insert((id, partitions)).1 = partitions;
        self.shard.cluster_changed(Arc::new(self.topics.clone()));
    }

    pub fn delete(&mut self, name: &str) {
        self.topics.0.remove(name);
        self.shard.cluster_changed(Arc::new(self.topics.clone()));
    }

    pub fn id(&self, topic: &str) -> TopicId {
        self.topics.0[topic].0
    }

    pub fn send(&mut self, request: GroupRequest) -> Ticket {
        self.next_ticket += 1;
        let ticket = Ticket(self.next_ticket);
        let mut effects = Vec::new();
        self.shard.set_offsets_of_time(1_000_000, 1_000_000);
        self.shard.handle(self.now_ms, ticket, request, &mut effects);
        self.perform(effects);
        ticket
    }

    pub fn ask(&mut self, request: GroupRequest) -> GroupReply {
        let ticket = self.send(request);
        self.replies.remove(&ticket).expect("answered at once")
    }

    pub fn perform(&mut self, mut effects: Vec<Effect>) {
        while !effects.is_empty() {
            let mut next = Vec::new();
            let mut failed = None;
            for effect in effects {
                match effect {
                    Effect::Reply { ticket, reply } => {
                        assert!(self.replies.insert(ticket, reply).is_none(), "answered twice");
                    }
                    Effect::Append { id, records } if self.append_error.is_none() => {
                        assert!(failed.is_none());
                        self.last_append = id;
                        self.log.extend(records.into_iter().map(|record| (id, record)));
                    }
                    Effect::Append { id, .. } => failed = failed.or(Some(id)),
                }
            }
            if let (Some(first), Some(error)) = (failed, self.append_error) {
                self.shard.append_failed(self.now_ms, first, error, &mut next);
            } else if self.auto_commit {
                self.shard.committed(self.now_ms, self.last_append, &mut next);
            }
            effects = next;
        }
        self.shard.validate();
    }

    pub fn commit_all(&mut self) {
        let mut effects = Vec::new();
        self.shard.committed(self.now_ms, self.last_append, &mut effects);
        self.perform(effects);
    }

    pub fn advance(&mut self, ms: i64) {
        let end_ms = self.now_ms + ms;
        let mut ticks = 0;
        while let Some(at_ms) = self.shard.next_deadline().filter(|at| *at <= end_ms) {
            ticks += 1;
            assert!(ticks < 100_000, "it spins");
            self.now_ms = self.now_ms.max(at_ms);
            let mut effects = Vec::new();
            self.shard.tick(self.now_ms, &mut effects);
            self.perform(effects);
        }
        self.now_ms = end_ms;
    }

    /// The shard that another broker makes of the log, as bytes.
    pub fn replayed(&self) -> GroupShard {
        let log: Vec<Stored> = self.log.iter().map(|(_, r)| r.encode().unwrap()).collect();
        let load = |log: &[Stored]| {
            let mut shard = GroupShard::new(self.config.clone());
            for (key, value) in log {
                shard.load(key.clone(), value.clone()).unwrap();
            }
            shard
        };
        replayed(&log, load, GroupShard::persistent_view)
    }

    pub fn fail_over(&mut self) {
        self.shard = self.replayed();
        self.shard.cluster_changed(Arc::new(self.topics.clone()));
        self.shard.start(self.now_ms, &mut Vec::new());
    }

    pub fn describe(&mut self) -> DescribedConsumerGroup {
        match self.ask(GroupRequest::DescribeConsumer(GROUP.into())) {
            GroupReply::DescribeConsumer(described) => described,
            other => panic!("{other:?}"),
        }
    }

    pub fn heartbeat(&mut self, request: ConsumerHeartbeat) -> ConsumerHeartbeatReply {
        match self.ask(GroupRequest::ConsumerHeartbeat(Box::new(request))) {
            GroupReply::ConsumerHeartbeat(reply) => reply,
            other => panic!("{other:?}"),
        }
    }

    /// Heartbeats of all, until a round brings no news; they give up and take as they are told.
    pub fn settle(&mut self, members: &mut [&mut Member]) {
        for _ in 0..20 {
            let mut has_news = false;
            for member in members.iter_mut() {
                has_news |= member.beat(self);
            }
            if !has_news {
                return;
            }
        }
        panic!("it never settles: {:?}", self.describe());
    }
}

/// A client's half of the protocol.
#[derive(Clone, Debug)]
pub struct Member {
    pub id: MemberId,
    pub instance: Option<Arc<str>>,
    pub epoch: i32,
    pub topics: Vec<Arc<str>>,
    pub regex: Option<Arc<str>>,
    pub sight: Sight,
    pub assignor: Option<Arc<str>>,
    pub owned: BTreeSet<(TopicId, i32)>,
    /// To be told of with the next heartbeat.
    pub tells_owned: bool,
}

impl Member {
    pub fn new(id: &str, topics: &[&str]) -> Member {
        Member {
            id: id.into(),
            instance: None,
            epoch: 0,
            topics: topics.iter().map(|t| (*t).into()).collect(),
            regex: None,
            sight: Sight::default(),
            assignor: None,
            owned: BTreeSet::new(),
            tells_owned: false,
        }
    }

    pub fn of_instance(id: &str, instance: &str, topics: &[&str]) -> Member {
        Member { instance: Some(instance.into()), ..Member::new(id, topics) }
    }

    pub fn request(&self) -> ConsumerHeartbeat {
        ConsumerHeartbeat {
            group: GROUP.into(),
            member_id: self.id.clone(),
            brings_id: true,
            new_member_id: "new".into(),
            member_epoch: self.epoch,
            instance_id: self.instance.clone(),
            rack_id: None,
            rebalance_timeout_ms: None,
            topics: None,
            regex: None,
            assignor: None,
            owned: None,
            client_id: "c".into(),
            client_host: "/127.0.0.1".into(),
            sight: self.sight.clone(),
            booking: Booking::default(),
        }
    }

    pub fn join_request(&self) -> ConsumerHeartbeat {
        ConsumerHeartbeat {
            member_epoch: 0,
            rebalance_timeout_ms: Some(REBALANCE_MS),
            topics: Some(self.topics.clone()),
            regex: self.regex.clone(),
            assignor: self.assignor.clone(),
            owned: Some(Vec::new()),
            ..self.request()
        }
    }

    pub fn leave_request(&self, epoch: i32) -> ConsumerHeartbeat {
        ConsumerHeartbeat { member_epoch: epoch, ..self.request() }
    }

    pub fn owned_list(&self) -> TopicPartitionList {
        let mut list: BTreeMap<TopicId, Vec<i32>> = BTreeMap::new();
        for (id, partition) in &self.owned {
            list.entry(*id).or_default().push(*partition);
        }
        list.into_iter().collect()
    }

    pub fn join(&mut self, world: &mut World) -> ConsumerHeartbeatReply {
        let reply = world.heartbeat(self.join_request());
        self.owned.clear();
        self.take(&reply);
        reply
    }

    /// One heartbeat; true if it brought news.
    pub fn beat(&mut self, world: &mut World) -> bool {
        if self.epoch == 0 {
            return self.join(world).error == ErrorCode::None;
        }
        let mut request = self.request();
        if std::mem::take(&mut self.tells_owned) {
            request.owned = Some(self.owned_list());
        }
        let before = self.epoch;
        let reply = world.heartbeat(request);
        self.take(&reply);
        reply.assignment.is_some() || self.epoch != before
    }

    pub fn take(&mut self, reply: &ConsumerHeartbeatReply) {
        match reply.error {
            ErrorCode::None => {}
            ErrorCode::FencedMemberEpoch | ErrorCode::UnknownMemberId => {
                self.epoch = 0;
                self.owned.clear();
                return;
            }
            _ => return,
        }
        self.epoch = reply.member_epoch;
        if let Some(assignment) = &reply.assignment {
            let pairs =
                |(id, ps): &(TopicId, Vec<i32>)| ps.iter().map(|p| (*id, *p)).collect::<Vec<_>>();
            self.owned = assignment.iter().flat_map(pairs).collect();
            self.tells_owned = true;
        }
    }
}

/// How many partitions each has.
pub fn sizes(members: &[&mut Member]) -> Vec<usize> {
    members.iter().map(|m| m.owned.len()).collect()
}
