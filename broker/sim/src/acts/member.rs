//! A member of a consumer group, as a classic client behaves: join, sync, heartbeat, fetch the
//! offsets of what it was assigned, commit as it goes on; at times it leaves, or dies and comes
//! back as another. One request at a time on one connection: what was sent on a connection that
//! was given up is not processed later.

use std::collections::BTreeMap;

use base::{ErrorCode, LeaderEpoch, Offset, TopicId};
use bytes::Bytes;
use coordinator::{
    CommitOffsets, FetchOffsets, FetchTopic, GroupReply, GroupRequest, Heartbeat, JoinGroup,
    JoinReply, LeaveGroup, LeavingMember, MemberId, OffsetToCommit, Protocol, SyncGroup,
};

use crate::client::{Client, Floors, Member, Request, State};
use crate::message::Body;
use crate::world::{DATA_TOPIC, World};

const GROUP: &str = "group";
const POLL_MS: i64 = 80;
const REQUEST_TIMEOUT_MS: i64 = 1_500;
const SESSION_TIMEOUT_MS: i32 = 1_000;
const REBALANCE_TIMEOUT_MS: i32 = 1_200;

/// Partitions that the group shares out; more than the topic has, as offsets need no data.
const PARTITIONS: i32 = 4;

fn assignment_text(generation: i32, partitions: &[i32]) -> Bytes {
    let list: Vec<String> = partitions.iter().map(i32::to_string).collect();
    Bytes::from(format!("{generation}:{}", list.join(",")))
}

fn parse_assignment(text: &[u8]) -> Option<(i32, Vec<i32>)> {
    let text = std::str::from_utf8(text).ok()?;
    let (generation, list) = text.split_once(':')?;
    let partitions = list.split(',').filter(|item| !item.is_empty());
    Some((generation.parse().ok()?, partitions.map_while(|item| item.parse().ok()).collect()))
}

impl World {
    fn member(&mut self, client: usize) -> Option<&mut Member> {
        match &mut self.clients[client] {
            Client::Member(member) => Some(member),
            _ => None,
        }
    }

    pub(crate) fn member_timer(&mut self, client: usize) {
        let (now, healing) = (self.now_ms, self.healing());
        let whim = if healing { 999 } else { self.rng.between(0, 999) };
        let rest = self.rng.between(100, 900);
        let Some(member) = self.member(client) else { return };
        if let Some(request) = &member.request {
            if now - request.sent_ms > REQUEST_TIMEOUT_MS {
                member.reconnect();
                self.close_connections(client);
            }
        } else if whim < 4 {
            // Dies; another one comes in its place.
            member.reconnect();
            member.rejoin(true);
            self.close_connections(client);
            return self.client_after(rest, client);
        } else if whim < 10 && !member.member_id.is_empty() {
            self.member_leaves(client);
        } else {
            self.member_acts(client);
        }
        self.client_after(POLL_MS, client);
    }

    fn member_acts(&mut self, client: usize) {
        let fresh = self.fresh_id();
        // In the end the log of offsets must come to rest.
        let step = if self.healing() { 0 } else { self.rng.between(0, 5) };
        let Some(member) = self.member(client) else { return };
        let group = GROUP.into();
        let (member_id, generation) = (member.member_id.clone(), member.generation);
        let request = match &mut member.state {
            State::Outside => {
                member.state = State::Joining;
                let new_member_id = format!("m{}-{fresh}", member.index).into();
                join(member_id, new_member_id)
            }
            State::Joining | State::Syncing => {
                // The answer got lost with its connection: begin again.
                member.rejoin(false);
                return;
            }
            State::Stable { positions } => {
                let unknown: Vec<i32> =
                    positions.iter().filter(|(_, at)| at.is_none()).map(|(&p, _)| p).collect();
                if !unknown.is_empty() {
                    return self.fetch_offsets(client, unknown);
                }
                if step == 0 {
                    let instance_id = None;
                    GroupRequest::Heartbeat(Heartbeat { group, generation, member_id, instance_id })
                } else {
                    return self.commit_offsets(client, step);
                }
            }
        };
        self.send_group(client, request, BTreeMap::new(), BTreeMap::new());
    }

    fn member_leaves(&mut self, client: usize) {
        let Some(member) = self.member(client) else { return };
        let member_id = member.member_id.clone();
        member.rejoin(true);
        let members = vec![LeavingMember { member_id, instance_id: None }];
        let request = GroupRequest::Leave(LeaveGroup { group: GROUP.into(), members });
        self.send_group(client, request, BTreeMap::new(), BTreeMap::new());
    }

    fn fetch_offsets(&mut self, client: usize, partitions: Vec<i32>) {
        let floors = partitions.iter().map(|&p| (p, self.checks.groups.floor(GROUP, p))).collect();
        let topic = FetchTopic { topic: DATA_TOPIC.into(), topic_id: TopicId::ZERO, partitions };
        let request = GroupRequest::Fetch(FetchOffsets {
            group: GROUP.into(),
            topics: Some(vec![topic]),
            member_id: None,
            member_epoch: -1,
            require_stable: false,
        });
        self.send_group(client, request, floors, BTreeMap::new());
    }

    fn commit_offsets(&mut self, client: usize, step: i64) {
        let Some(member) = self.member(client) else { return };
        let State::Stable { positions } = &mut member.state else { return };
        for position in positions.values_mut().flatten() {
            *position += step;
        }
        let commits: BTreeMap<i32, Offset> =
            positions.iter().filter_map(|(&p, at)| at.map(|at| (p, at))).collect();
        let offset = |(&partition, &offset): (&i32, &Offset)| OffsetToCommit {
            topic: DATA_TOPIC.into(),
            topic_id: TopicId::ZERO,
            partition,
            offset,
            leader_epoch: -1,
            metadata: "".into(),
        };
        let request = GroupRequest::Commit(CommitOffsets {
            group: GROUP.into(),
            member_id: member.member_id.clone(),
            instance_id: None,
            knows_epochs: true,
            generation: member.generation,
            retention_ms: None,
            unknown_group: ErrorCode::IllegalGeneration,
            offsets: commits.iter().map(offset).collect(),
        });
        self.send_group(client, request, BTreeMap::new(), commits);
    }

    fn send_group(
        &mut self,
        client: usize,
        request: GroupRequest,
        floors: Floors,
        commits: BTreeMap<i32, Offset>,
    ) {
        let (sent_ms, id, tp) = (self.now_ms, self.fresh_id(), self.offsets_tp());
        let known = self.member(client).and_then(|member| member.coordinator);
        let coordinator = known.or_else(|| self.find_leader(tp));
        let Some(member) = self.member(client) else { return };
        member.coordinator = coordinator;
        member.request = Some(Request { id, sent_ms, floors, commits });
        match coordinator {
            Some(node) => self.send_request(client, node, Body::Group { id, request }),
            None => member.request = None,
        }
    }

    pub(crate) fn member_told(
        &mut self,
        client: usize,
        id: u64,
        epoch: LeaderEpoch,
        reply: GroupReply,
    ) {
        self.trace(|_| format!("  client {client} {reply:?}"));
        let Some(member) = self.member(client) else { return };
        let Some(request) = member.request.take_if(|request| request.id == id) else { return };
        match reply {
            GroupReply::Join(reply) => self.joined(client, reply),
            GroupReply::Sync(reply) if reply.error.is_error() => {
                member.rejoin(false);
                member.took_error(reply.error);
            }
            GroupReply::Sync(reply) => self.synced(client, &reply.assignment),
            GroupReply::Heartbeat(error) if error.is_error() => member.took_error(error),
            GroupReply::Commit(reply) => {
                match reply.errors.iter().copied().find(|error| error.is_error()) {
                    Some(error) => member.took_error(error),
                    None => {
                        for (&partition, &offset) in &request.commits {
                            self.checks.groups.committed(GROUP, partition, epoch, offset);
                        }
                    }
                }
            }
            GroupReply::Fetch(reply) if reply.error.is_error() => member.took_error(reply.error),
            GroupReply::Fetch(reply) => {
                for found in reply.topics.iter().flat_map(|topic| &topic.partitions) {
                    self.offset_fetched(client, &request, epoch, (found.partition, found.offset));
                }
            }
            _ => {}
        }
    }

    fn joined(&mut self, client: usize, reply: JoinReply) {
        let Some(member) = self.member(client) else { return };
        member.state = State::Outside;
        if reply.error == ErrorCode::MemberIdRequired {
            member.member_id = reply.member_id;
            return;
        }
        if reply.error.is_error() {
            return member.took_error(reply.error);
        }
        member.member_id = reply.member_id.clone();
        member.generation = reply.generation;
        member.state = State::Syncing;
        let mut assignments = Vec::new();
        if reply.leader == reply.member_id {
            let count = reply.members.len().max(1) as i32;
            for (index, other) in (0..).zip(&reply.members) {
                let share: Vec<i32> = (0..PARTITIONS).filter(|p| p % count == index).collect();
                let text = assignment_text(reply.generation, &share);
                assignments.push((other.member_id.clone(), text));
            }
        }
        let request = GroupRequest::Sync(SyncGroup {
            group: GROUP.into(),
            generation: reply.generation,
            member_id: reply.member_id,
            instance_id: None,
            protocol_type: reply.protocol_type,
            protocol_name: reply.protocol_name,
            assignments,
        });
        self.send_group(client, request, BTreeMap::new(), BTreeMap::new());
    }

    fn synced(&mut self, client: usize, assignment: &[u8]) {
        let Some(member) = self.member(client) else { return };
        let (id, generation) = (member.member_id.clone(), member.generation);
        let (made_for, partitions) = parse_assignment(assignment).unwrap_or((generation, vec![]));
        let positions = partitions.iter().map(|&partition| (partition, None)).collect();
        member.state = State::Stable { positions };
        let check = self.checks.groups.assigned(GROUP, &id, generation, made_for, &partitions);
        self.check(check);
    }

    fn offset_fetched(
        &mut self,
        client: usize,
        request: &Request,
        epoch: LeaderEpoch,
        (p, offset): (i32, Offset),
    ) {
        let check = match request.floors.get(&p) {
            Some(floor) => self.checks.groups.fetched(GROUP, p, floor, epoch, offset),
            None => Ok(()),
        };
        self.check(check);
        if let Some(Member { state: State::Stable { positions }, .. }) = self.member(client)
            && let Some(position) = positions.get_mut(&p)
        {
            *position = Some(offset.max(0));
        }
    }
}

fn join(member_id: MemberId, new_member_id: MemberId) -> GroupRequest {
    GroupRequest::Join(JoinGroup {
        group: GROUP.into(),
        member_id,
        instance_id: None,
        new_member_id,
        client_id: "sim".into(),
        client_host: "sim".into(),
        session_timeout_ms: SESSION_TIMEOUT_MS,
        rebalance_timeout_ms: REBALANCE_TIMEOUT_MS,
        protocol_type: "consumer".into(),
        protocols: vec![Protocol { name: "range".into(), metadata: Bytes::new() }],
        requires_known_id: true,
        supports_skip_assignment: true,
        booking: Default::default(),
    })
}
