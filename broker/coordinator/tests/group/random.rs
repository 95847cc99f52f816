//! Random members, clocks, failing appends and failovers. Two promises are checked after every
//! step: what a generation's members are told is disjoint, and the log says what the shard says.

use std::collections::BTreeMap;

use base::ErrorCode;
use bytes::Bytes;
use coordinator::*;
use proptest::prelude::*;

use crate::world::*;

const PARTITIONS: u8 = 12;
const NAMES: [&str; 6] = ["a", "b", "c", "d", "e", "f"];

#[derive(Clone, Debug)]
enum Step {
    /// Every member does what its protocol says it does next, then some time passes.
    Round(i64),
    Join(usize),
    Sync(usize),
    Heartbeat(usize),
    Leave(usize),
    Restart(usize),
    Commit(usize, i32, i64),
    Fetch,
    Advance(i64),
    HoldCommits(bool),
    CommitAll,
    FailAppends(bool),
    FailOver {
        lose_uncommitted: bool,
    },
    DeleteGroup,
}

fn step() -> impl Strategy<Value = Step> {
    let member = 0..NAMES.len();
    prop_oneof![
        24 => prop_oneof![Just(0i64), Just(500), Just(3_000)].prop_map(Step::Round),
        2 => member.clone().prop_map(Step::Join),
        6 => member.clone().prop_map(Step::Sync),
        2 => member.clone().prop_map(Step::Heartbeat),
        1 => member.clone().prop_map(Step::Leave),
        1 => member.clone().prop_map(Step::Restart),
        4 => (member, 0..4, 0..100i64).prop_map(|(m, p, o)| Step::Commit(m, p, o)),
        1 => Just(Step::Fetch),
        2 => prop_oneof![Just(100i64), Just(3_000), Just(9_000), Just(61_000)]
            .prop_map(Step::Advance),
        1 => any::<bool>().prop_map(Step::HoldCommits),
        2 => Just(Step::CommitAll),
        1 => prop_oneof![3 => Just(false), 1 => Just(true)].prop_map(Step::FailAppends),
        1 => any::<bool>().prop_map(|lose| Step::FailOver { lose_uncommitted: lose }),
        1 => Just(Step::DeleteGroup),
    ]
}

/// Where a member is in its protocol.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Phase {
    Joins,
    WaitsForJoin,
    Syncs,
    WaitsForSync,
    Works,
}

/// The clients of a world, and what they were told.
struct Run {
    world: World,
    clients: Vec<Client>,
    phases: Vec<Phase>,
    beats: BTreeMap<Ticket, usize>,
    joins: BTreeMap<Ticket, usize>,
    syncs: BTreeMap<Ticket, (usize, i32)>,
    /// Partition, offset, and whether nothing later may have removed it.
    commits: BTreeMap<Ticket, (i32, i64, bool)>,
    /// The members of a generation, as its leader was told.
    members: Vec<Vec<MemberId>>,
    /// Coordinator and generation, then partition: who owns it. A generation number may return
    /// after a failover that lost its assignment, but never with an assignment handed out twice.
    owners: BTreeMap<(i32, u8), MemberId>,
    /// The last acknowledged commit of a partition, while nothing else may have changed it.
    acknowledged: BTreeMap<i32, i64>,
    ids_drawn: u32,
}

impl Run {
    fn new() -> Run {
        let client = |(i, name): (usize, &'static str)| match i % 3 {
            0 => Client { requires_known_id: true, ..Client::new(name) },
            1 => Client::with_instance(name),
            _ => Client::new(name),
        };
        Run {
            world: World::new(),
            clients: NAMES.into_iter().enumerate().map(client).collect(),
            phases: vec![Phase::Joins; NAMES.len()],
            beats: BTreeMap::new(),
            joins: BTreeMap::new(),
            syncs: BTreeMap::new(),
            commits: BTreeMap::new(),
            members: vec![Vec::new(); NAMES.len()],
            owners: BTreeMap::new(),
            acknowledged: BTreeMap::new(),
            ids_drawn: 0,
        }
    }

    fn perform(&mut self, step: &Step) {
        match *step {
            Step::Round(ms) => {
                for m in 0..NAMES.len() {
                    self.next_of(m);
                    self.take_replies();
                }
                self.world.advance(ms);
            }
            Step::Join(m) => self.join(m),
            Step::Sync(m) => self.sync(m),
            Step::Heartbeat(m) => self.beat(m),
            _ => self.perform_other(step),
        }
        self.take_replies();
        self.check();
    }

    fn next_of(&mut self, m: usize) {
        match self.phases[m] {
            Phase::Joins => self.join(m),
            Phase::Syncs => self.sync(m),
            Phase::Works => self.beat(m),
            Phase::WaitsForJoin | Phase::WaitsForSync => {}
        }
    }

    fn join(&mut self, m: usize) {
        let mut request = self.clients[m].join();
        if let GroupRequest::Join(join) = &mut request {
            self.ids_drawn += 1;
            join.new_member_id = format!("{}-{}", NAMES[m], self.ids_drawn).into();
        }
        let ticket = self.world.send(request);
        self.joins.insert(ticket, m);
        self.phases[m] = Phase::WaitsForJoin;
    }

    fn sync(&mut self, m: usize) {
        let client = &self.clients[m];
        // Every sync of a leader assigns differently.
        self.ids_drawn += 1;
        let given = assign(&self.members[m], client.leads, self.ids_drawn as usize);
        let ticket = self.world.send(client.sync(given));
        self.syncs.insert(ticket, (m, client.generation));
        self.phases[m] = Phase::WaitsForSync;
    }

    fn beat(&mut self, m: usize) {
        let ticket = self.world.send(self.clients[m].heartbeat());
        self.beats.insert(ticket, m);
    }

    fn restart(&mut self, m: usize) {
        self.clients[m] = self.clients[m].restarted();
        self.phases[m] = Phase::Joins;
    }

    fn perform_other(&mut self, step: &Step) {
        let w = &mut self.world;
        match *step {
            Step::Round(_) | Step::Join(_) | Step::Sync(_) | Step::Heartbeat(_) => {}
            Step::Leave(m) => {
                w.send(self.clients[m].leave());
                self.restart(m);
            }
            Step::Restart(m) => self.restart(m),
            Step::Commit(m, partition, offset) => {
                let ticket = w.send(self.clients[m].commit(partition, offset));
                self.commits.insert(ticket, (partition, offset, true));
                // Until it is answered, both the old and the new offset are right.
                self.acknowledged.remove(&partition);
            }
            Step::Fetch => {
                w.send(fetch(None));
            }
            Step::Advance(ms) => w.advance(ms),
            Step::HoldCommits(hold) => {
                w.auto_commit = !hold;
                if !hold {
                    w.commit_all();
                }
            }
            Step::CommitAll => w.commit_all(),
            Step::FailAppends(fail) => {
                w.append_error = fail.then_some(ErrorCode::NotEnoughReplicas);
            }
            Step::FailOver { lose_uncommitted } => self.fail_over(lose_uncommitted),
            Step::DeleteGroup => {
                w.send(GroupRequest::DeleteGroup("g".into()));
                self.acknowledged.clear();
                self.commits.values_mut().for_each(|(_, _, counts)| *counts = false);
            }
        }
    }

    fn fail_over(&mut self, lose_uncommitted: bool) {
        let w = &mut self.world;
        if lose_uncommitted {
            let pending = w.shard.appends_pending();
            let mut ids: Vec<AppendId> = w.log.iter().map(|(id, _)| *id).collect();
            ids.dedup();
            let lost = ids.split_off(ids.len() - pending);
            w.log.retain(|(id, _)| !lost.contains(id));
        }
        // Ids of appends start anew: those of the former coordinator are all committed now.
        for (id, _) in &mut w.log {
            *id = AppendId::default();
        }
        w.fail_over();
    }

    fn take_replies(&mut self) {
        for (ticket, reply) in std::mem::take(&mut self.world.replies) {
            match reply {
                GroupReply::Join(reply) => self.take_join(ticket, reply),
                GroupReply::Sync(reply) => self.take_sync(ticket, reply),
                GroupReply::Commit(reply) => {
                    let (partition, offset, counts) = self.commits.remove(&ticket).unwrap();
                    let alone = !self.commits.values().any(|(p, ..)| *p == partition);
                    if reply.errors == [ErrorCode::None] && alone && counts {
                        self.acknowledged.insert(partition, offset);
                    }
                }
                GroupReply::Heartbeat(error) => {
                    let m = self.beats.remove(&ticket).expect("asked once, answered once");
                    self.told(m, error);
                }
                _ => {}
            }
        }
    }

    /// What a member does about an error.
    fn told(&mut self, m: usize, error: ErrorCode) {
        match error {
            ErrorCode::None => {}
            ErrorCode::UnknownMemberId | ErrorCode::FencedInstanceId => self.restart(m),
            _ => self.phases[m] = Phase::Joins,
        }
    }

    fn take_join(&mut self, ticket: Ticket, reply: JoinReply) {
        let m = self.joins.remove(&ticket).expect("asked once, answered once");
        match reply.error {
            ErrorCode::None => {
                self.phases[m] = Phase::Syncs;
                self.clients[m].joined(&reply);
                self.members[m] = reply.members.into_iter().map(|m| m.member_id).collect();
            }
            ErrorCode::MemberIdRequired => {
                self.clients[m].id = reply.member_id;
                self.phases[m] = Phase::Joins;
            }
            error => self.told(m, error),
        }
    }

    fn take_sync(&mut self, ticket: Ticket, reply: SyncReply) {
        let (m, generation) = self.syncs.remove(&ticket).expect("asked once, answered once");
        if self.clients[m].generation != generation {
            return;
        }
        if reply.error != ErrorCode::None {
            self.told(m, reply.error);
            return;
        }
        self.phases[m] = Phase::Works;
        let id = self.clients[m].id.clone();
        // A static member inherits the assignment of its former self.
        let same = |a: &str, b: &str| a.split('-').next() == b.split('-').next();
        for partition in reply.assignment {
            let owner = self.owners.entry((generation, partition)).or_insert(id.clone());
            assert!(same(owner, &id), "{partition} of {generation}: {owner} and {id}");
        }
    }

    /// The log as it is, uncommitted tail included, replays to the shard as it is.
    fn check(&mut self) {
        if self.world.state() == GroupState::Dead {
            // A new group of this name begins with generation 1 again.
            self.owners.clear();
        }
        let replayed = self.world.replayed().persistent_view();
        let live = self.world.shard.persistent_view();
        let settled = live.iter().any(|r| matches!(r, GroupRecord::Group { .. }));
        let offsets = |view: &[GroupRecord]| -> Vec<GroupRecord> {
            view.iter().filter(|r| matches!(r, GroupRecord::Offset { .. })).cloned().collect()
        };
        assert_eq!(offsets(&replayed), offsets(&live));
        if settled && !self.empty_generation_is_lost(&live) {
            assert_eq!(replayed, live);
        }
        for (partition, offset) in &self.acknowledged {
            let committed = live.iter().find_map(|r| match r {
                GroupRecord::Offset { partition: p, value: Some(v), .. } if p == partition => {
                    Some(v.offset)
                }
                _ => None,
            });
            assert_eq!(committed, Some(*offset), "partition {partition}");
        }
    }

    /// An empty generation that could not be appended is known to the shard alone.
    fn empty_generation_is_lost(&self, live: &[GroupRecord]) -> bool {
        let generation = |record: &GroupRecord| match record {
            GroupRecord::Group { value, .. } => value.as_ref().map(|v| v.generation),
            _ => None,
        };
        let is_group = |record: &&GroupRecord| matches!(record, GroupRecord::Group { .. });
        let stored = self.world.log.iter().rev().map(|(_, r)| r).find(is_group);
        let empty = live.iter().any(
            |r| matches!(r, GroupRecord::Group { value: Some(v), .. } if v.members.is_empty()),
        );
        empty && stored.and_then(generation) != live.iter().find_map(generation)
    }
}

/// Deals all partitions to the members, as any assignor does.
fn assign(members: &[MemberId], leads: bool, salt: usize) -> Vec<(MemberId, Bytes)> {
    if !leads || members.is_empty() {
        return Vec::new();
    }
    let owner = move |p: &u8| (usize::from(*p) + salt) % members.len();
    let owned = |i: usize| (0..PARTITIONS).filter(move |p| owner(p) == i);
    members.iter().enumerate().map(|(i, id)| (id.clone(), owned(i).collect())).collect()
}

fn config() -> ProptestConfig {
    ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn members_own_disjoint_partitions_and_the_log_tells_the_same(
        steps in prop::collection::vec(step(), 1..200)
    ) {
        let mut run = Run::new();
        for step in &steps {
            run.perform(step);
        }
    }
}
