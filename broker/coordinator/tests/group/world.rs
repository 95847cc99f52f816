//! A shard with a log of its own and a clock: what the driver does, in a few lines. Appends are
//! committed at once unless a test holds them back.

use std::collections::BTreeMap;
use std::sync::Arc;

use base::{ErrorCode, TopicId};
use bytes::Bytes;
use coordinator::*;

use crate::cleaning::{Stored, replayed};

pub const SESSION_MS: i32 = 10_000;
pub const REBALANCE_MS: i32 = 60_000;
pub const INITIAL_DELAY_MS: i64 = 3_000;

pub struct World {
    pub shard: GroupShard,
    pub config: GroupConfig,
    pub now_ms: i64,
    /// What is in the log, with the append that wrote it.
    pub log: Vec<(AppendId, GroupRecord)>,
    pub replies: BTreeMap<Ticket, GroupReply>,
    pub auto_commit: bool,
    /// Every append fails with this.
    pub append_error: Option<ErrorCode>,
    next_ticket: u64,
    last_append: AppendId,
}

impl World {
    pub fn new() -> World {
        World::with(GroupConfig::kafka_defaults())
    }

    pub fn with(config: GroupConfig) -> World {
        let mut shard = GroupShard::new(config.clone());
        shard.start(1_000, &mut Vec::new());
        World {
            shard,
            config,
            now_ms: 1_000,
            log: Vec::new(),
            replies: BTreeMap::new(),
            auto_commit: true,
            append_error: None,
            next_ticket: 0,
            last_append: AppendId::default(),
        }
    }

    pub fn send(&mut self, request: GroupRequest) -> Ticket {
        self.next_ticket += 1;
        let ticket = Ticket(self.next_ticket);
        let mut effects = Vec::new();
        self.shard.handle(self.now_ms, ticket, request, &mut effects);
        self.perform(effects);
        ticket
    }

    /// Sends a request that is answered at once.
    pub fn ask(&mut self, request: GroupRequest) -> GroupReply {
        let ticket = self.send(request);
        self.take(ticket).expect("answered at once")
    }

    pub fn take(&mut self, ticket: Ticket) -> Option<GroupReply> {
        self.replies.remove(&ticket)
    }

    pub fn perform(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Reply { ticket, reply } => {
                    let twice = self.replies.insert(ticket, reply);
                    assert_eq!(twice, None, "{ticket:?} is answered twice");
                }
                Effect::Append { id, records } => self.append(id, records),
            }
        }
        self.shard.validate();
    }

    fn append(&mut self, id: AppendId, records: Vec<GroupRecord>) {
        assert!(id > self.last_append, "appends come in order");
        self.last_append = id;
        if let Some(error) = self.append_error {
            let mut effects = Vec::new();
            self.shard.append_failed(self.now_ms, id, error, &mut effects);
            self.perform(effects);
            return;
        }
        self.log.extend(records.into_iter().map(|r| (id, r)));
        if self.auto_commit {
            self.commit_all();
        }
    }

    pub fn commit_all(&mut self) {
        let mut effects = Vec::new();
        self.shard.committed(self.now_ms, self.last_append, &mut effects);
        self.perform(effects);
    }

    /// Lets time pass, stopping at every deadline on the way.
    pub fn advance(&mut self, ms: i64) {
        let end_ms = self.now_ms + ms;
        while let Some(at_ms) = self.shard.next_deadline().filter(|at_ms| *at_ms <= end_ms) {
            self.now_ms = self.now_ms.max(at_ms);
            let mut effects = Vec::new();
            self.shard.tick(self.now_ms, &mut effects);
            self.perform(effects);
        }
        self.now_ms = end_ms;
    }

    /// Another broker takes over: it has the log, nothing else.
    pub fn fail_over(&mut self) {
        let mut effects = Vec::new();
        let new = self.replayed();
        std::mem::replace(&mut self.shard, new).unload(&mut effects);
        for effect in effects {
            match effect {
                Effect::Reply { ticket, reply } => {
                    self.replies.insert(ticket, reply);
                }
                Effect::Append { .. } => panic!("an unloaded shard appends nothing"),
            }
        }
        self.last_append = AppendId::default();
        self.shard.start(self.now_ms, &mut Vec::new());
    }

    /// A shard that was loaded from the log, through Kafka's bytes; as it is, and cleaned up to the
    /// first transaction.
    pub fn replayed(&self) -> GroupShard {
        let is_plain = |(_, record): &&(AppendId, GroupRecord)| {
            use GroupRecord::{PendingOffset, TransactionEnd};
            !matches!(record, PendingOffset { .. } | TransactionEnd(_))
        };
        let plain = self.log.iter().take_while(is_plain);
        let plain: Vec<Stored> = plain.map(|(_, record)| record.encode().unwrap()).collect();
        let load = |left: &[Stored]| self.loaded(left, plain.len());
        replayed(&plain, load, GroupShard::persistent_view)
    }

    /// A shard that was loaded from these records, and from the log behind `end`.
    fn loaded(&self, stored: &[Stored], end: usize) -> GroupShard {
        let mut shard = GroupShard::new(self.config.clone());
        for (key, value) in stored.iter().cloned() {
            let record = GroupRecord::decode(key, value).unwrap().expect("a kind that we keep");
            shard.replay(record);
        }
        for (_, record) in &self.log[end..] {
            if let GroupRecord::TransactionEnd(end) = record {
                shard.load_end(end.producer_id, end.commit);
                continue;
            }
            let (key, value) = record.encode().unwrap();
            if let GroupRecord::PendingOffset { transaction, .. } = record {
                shard.load_in_transaction(transaction.producer_id, key, value).unwrap();
                continue;
            }
            let record = GroupRecord::decode(key, value).unwrap().expect("a kind that we keep");
            shard.replay(record);
        }
        shard.validate();
        shard
    }

    pub fn state(&mut self) -> GroupState {
        self.describe().state
    }

    pub fn describe(&mut self) -> DescribedGroup {
        match self.ask(GroupRequest::Describe("g".into())) {
            GroupReply::Describe(group) => group,
            other => panic!("{other:?}"),
        }
    }

    pub fn heartbeat(&mut self, member: &Client) -> ErrorCode {
        match self.ask(member.heartbeat()) {
            GroupReply::Heartbeat(error) => error,
            other => panic!("{other:?}"),
        }
    }

    pub fn take_join(&mut self, ticket: Ticket) -> Option<JoinReply> {
        self.take(ticket).map(|reply| match reply {
            GroupReply::Join(reply) => reply,
            other => panic!("{other:?}"),
        })
    }

    pub fn take_sync(&mut self, ticket: Ticket) -> Option<SyncReply> {
        self.take(ticket).map(|reply| match reply {
            GroupReply::Sync(reply) => reply,
            other => panic!("{other:?}"),
        })
    }

    /// Brings these members into one stable generation, the first of them its leader. Every member
    /// is assigned its own name.
    pub fn stabilise(&mut self, members: &mut [&mut Client]) {
        let joins: Vec<Ticket> = members.iter().map(|m| self.send(m.join())).collect();
        if !self.replies.contains_key(&joins[0]) {
            self.advance(INITIAL_DELAY_MS * 2);
        }
        for (member, ticket) in members.iter_mut().zip(joins) {
            let reply = self.take_join(ticket).expect("the join phase is over");
            assert_eq!(reply.error, ErrorCode::None);
            member.joined(&reply);
        }
        let leader = members.iter().position(|m| m.leads).expect("somebody leads");
        let ids: Vec<_> = members.iter().map(|m| (m.id.clone(), m.name)).collect();
        let assignments: Vec<_> = ids
            .iter()
            .map(|(id, name)| (id.clone(), Bytes::from_static(name.as_bytes())))
            .collect();
        let mut syncs = Vec::new();
        for (i, member) in members.iter().enumerate() {
            let given = if i == leader { assignments.clone() } else { Vec::new() };
            syncs.push(self.send(member.sync(given)));
        }
        for (member, ticket) in members.iter().zip(syncs) {
            let reply = self.take_sync(ticket).expect("the leader has synchronised");
            assert_eq!((reply.error, &reply.assignment[..]), (ErrorCode::None, member.name()));
        }
        assert_eq!(self.state(), GroupState::Stable);
    }
}

/// One consumer as it sees itself.
#[derive(Clone, Debug)]
pub struct Client {
    pub name: &'static str,
    pub id: MemberId,
    pub instance: Option<Arc<str>>,
    pub generation: i32,
    pub leads: bool,
    pub protocols: Vec<Protocol>,
    pub rebalance_timeout_ms: i32,
    pub requires_known_id: bool,
    pub supports_skip_assignment: bool,
    pub incarnation: u32,
}

impl Client {
    pub fn new(name: &'static str) -> Client {
        Client {
            name,
            id: "".into(),
            instance: None,
            generation: -1,
            leads: false,
            protocols: vec![protocol("range", b"")],
            rebalance_timeout_ms: REBALANCE_MS,
            requires_known_id: false,
            supports_skip_assignment: true,
            incarnation: 0,
        }
    }

    pub fn with_instance(name: &'static str) -> Client {
        Client { instance: Some(format!("instance-{name}").into()), ..Client::new(name) }
    }

    /// The same consumer after a restart of its process.
    pub fn restarted(&self) -> Client {
        let incarnation = self.incarnation + 1;
        Client { id: "".into(), generation: -1, leads: false, incarnation, ..self.clone() }
    }

    fn name(&self) -> &[u8] {
        self.name.as_bytes()
    }

    pub fn joined(&mut self, reply: &JoinReply) {
        self.id = reply.member_id.clone();
        self.generation = reply.generation;
        self.leads = reply.leader == reply.member_id;
    }

    pub fn join(&self) -> GroupRequest {
        GroupRequest::Join(JoinGroup {
            group: "g".into(),
            member_id: self.id.clone(),
            instance_id: self.instance.clone(),
            new_member_id: format!("{}-{}", self.name, self.incarnation).into(),
            client_id: self.name.into(),
            client_host: "/127.0.0.1".into(),
            session_timeout_ms: SESSION_MS,
            rebalance_timeout_ms: self.rebalance_timeout_ms,
            protocol_type: "consumer".into(),
            protocols: self.protocols.clone(),
            requires_known_id: self.requires_known_id,
            supports_skip_assignment: self.supports_skip_assignment,
            booking: Default::default(),
        })
    }

    pub fn sync(&self, assignments: Vec<(MemberId, Bytes)>) -> GroupRequest {
        GroupRequest::Sync(SyncGroup {
            group: "g".into(),
            generation: self.generation,
            member_id: self.id.clone(),
            instance_id: self.instance.clone(),
            protocol_type: Some("consumer".into()),
            protocol_name: None,
            assignments,
        })
    }

    pub fn heartbeat(&self) -> GroupRequest {
        GroupRequest::Heartbeat(Heartbeat {
            group: "g".into(),
            generation: self.generation,
            member_id: self.id.clone(),
            instance_id: self.instance.clone(),
        })
    }

    pub fn leave(&self) -> GroupRequest {
        let member = LeavingMember { member_id: self.id.clone(), instance_id: None };
        GroupRequest::Leave(LeaveGroup { group: "g".into(), members: vec![member] })
    }

    pub fn commit(&self, partition: i32, offset: i64) -> GroupRequest {
        GroupRequest::Commit(CommitOffsets {
            group: "g".into(),
            member_id: self.id.clone(),
            instance_id: self.instance.clone(),
            knows_epochs: true,
            generation: self.generation,
            retention_ms: None,
            unknown_group: ErrorCode::IllegalGeneration,
            offsets: vec![to_commit(partition, offset)],
        })
    }
}

pub fn protocol(name: &str, metadata: &'static [u8]) -> Protocol {
    Protocol { name: name.into(), metadata: Bytes::from_static(metadata) }
}

pub fn to_commit(partition: i32, offset: i64) -> OffsetToCommit {
    OffsetToCommit {
        topic: "t".into(),
        topic_id: TopicId::ZERO,
        partition,
        offset,
        leader_epoch: -1,
        metadata: "".into(),
    }
}

/// A commit without membership.
pub fn simple_commit(partition: i32, offset: i64) -> GroupRequest {
    Client::new("simple").commit(partition, offset)
}

pub fn fetch(topics: Option<Vec<FetchTopic>>) -> GroupRequest {
    GroupRequest::Fetch(FetchOffsets {
        group: "g".into(),
        topics,
        member_id: None,
        member_epoch: -1,
        require_stable: false,
    })
}
