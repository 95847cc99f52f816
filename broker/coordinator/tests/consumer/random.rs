//! A model of clients against a shard: members join, leave, fall silent and come back, subscribe to
//! other topics, topics grow, appends fail, coordinators fail over. No partition is ever owned by
//! two, replay yields the same group, and once all is quiet everything is owned exactly once.

use std::collections::BTreeMap;

use base::{ErrorCode, TopicId};
use coordinator::*;
use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

use crate::world::{Member, SESSION_MS, World};

const MEMBERS: usize = 6;
const TOPICS: [&str; 4] = ["log-a", "log-b", "x", "y"];

#[derive(Clone, Debug)]
enum Step {
    Beat(usize),
    Join(usize),
    Leave(usize),
    /// A static member goes for a while.
    Pause(usize),
    /// The client forgets everything and has a new id; a static one keeps its instance.
    Restart(usize),
    Subscribe(usize, Vec<usize>, bool),
    Grow(usize),
    Advance(i64),
    FailAppends(bool),
    FailOver,
}

fn step() -> impl Strategy<Value = Step> {
    let member = 0..MEMBERS;
    let topics = proptest::collection::vec(0..TOPICS.len(), 1..3);
    prop_oneof![
        12 => member.clone().prop_map(Step::Beat),
        6 => member.clone().prop_map(Step::Join),
        1 => member.clone().prop_map(Step::Leave),
        1 => member.clone().prop_map(Step::Pause),
        1 => member.clone().prop_map(Step::Restart),
        1 => (member, topics, any::<bool>()).prop_map(|(m, t, r)| Step::Subscribe(m, t, r)),
        1 => (0..TOPICS.len()).prop_map(Step::Grow),
        3 => (1_i64..20_000).prop_map(Step::Advance),
        1 => any::<bool>().prop_map(Step::FailAppends),
        1 => Just(Step::FailOver),
    ]
}

struct Model {
    world: World,
    members: Vec<Member>,
    restarts: usize,
}

impl Model {
    fn new() -> Model {
        let mut config = GroupConfig::kafka_defaults();
        config.consumer.assignment_interval_ms = 100;
        let world = World::with(config, &[("log-a", 3), ("log-b", 2), ("x", 4)]);
        // Every other is a static member.
        let member = |i: usize| {
            let member = Member::new(&format!("m{i}"), &["log-a", "x"]);
            let instance = i.is_multiple_of(2).then(|| format!("i{i}").into());
            Member { instance, ..member }
        };
        Model { world, members: (0..MEMBERS).map(member).collect(), restarts: 0 }
    }

    fn take(&mut self, step: Step) {
        match step {
            Step::Beat(i) if self.members[i].epoch > 0 => self.beat(i),
            Step::Beat(_) => {}
            Step::Join(i) if self.members[i].epoch == 0 => self.join(i),
            Step::Join(i) => self.beat(i),
            Step::Leave(i) => self.leave(i, -1),
            Step::Pause(i) if self.members[i].instance.is_some() => self.leave(i, -2),
            Step::Pause(_) => {}
            Step::Restart(i) => self.restart(i),
            Step::Subscribe(i, topics, by_regex) => self.subscribe(i, &topics, by_regex),
            Step::Grow(t) => {
                let size = self.world.topics.0.get(TOPICS[t]).map_or(0, |(_, size)| *size);
                self.world.create(TOPICS[t], (size + 1).min(7));
            }
            Step::Advance(ms) => self.advance(ms),
            Step::FailAppends(yes) => {
                self.world.append_error = yes.then_some(ErrorCode::NotEnoughReplicas);
            }
            Step::FailOver => {
                let expected = self.world.shard.persistent_view();
                assert_eq!(self.world.replayed().persistent_view(), expected);
                self.world.fail_over();
            }
        }
        self.check_owners();
    }

    fn beat(&mut self, i: usize) {
        self.members[i].beat(&mut self.world);
    }

    fn join(&mut self, i: usize) {
        self.members[i].join(&mut self.world);
    }

    /// The client has given everything up before it says so.
    fn leave(&mut self, i: usize, epoch: i32) {
        let member = &mut self.members[i];
        if member.epoch > 0 {
            member.owned.clear();
            let reply = self.world.heartbeat(member.leave_request(epoch));
            member.epoch = 0;
            let is_out = [ErrorCode::None, ErrorCode::CoordinatorNotAvailable];
            assert!(is_out.contains(&reply.error), "{reply:?}");
        }
    }

    fn restart(&mut self, i: usize) {
        self.restarts += 1;
        let member = &mut self.members[i];
        member.owned.clear();
        member.epoch = 0;
        member.id = format!("m{i}-{}", self.restarts).into();
    }

    fn subscribe(&mut self, i: usize, topics: &[usize], by_regex: bool) {
        let member = &mut self.members[i];
        member.topics = topics.iter().map(|t| TOPICS[*t].into()).collect();
        member.regex = Some(if by_regex { "log-.*".into() } else { "".into() });
        if member.epoch > 0 {
            let request = ConsumerHeartbeat {
                topics: Some(member.topics.clone()),
                regex: member.regex.clone(),
                ..member.request()
            };
            let reply = self.world.heartbeat(request);
            member.take(&reply);
        }
    }

    /// Clients that hear nothing for their session give up what they own, as real ones do.
    fn advance(&mut self, ms: i64) {
        self.world.advance(ms);
        let known: Vec<MemberId> = {
            let described = self.world.append_error.take();
            let members = self.world.describe().members;
            self.world.append_error = described;
            members.into_iter().map(|m| m.member_id).collect()
        };
        for member in &mut self.members {
            if !known.contains(&member.id) {
                member.owned.clear();
                member.epoch = 0;
            }
        }
    }

    fn check_owners(&self) {
        let mut owners: BTreeMap<(TopicId, i32), &str> = BTreeMap::new();
        for member in &self.members {
            for at in &member.owned {
                if let Some(other) = owners.insert(*at, &member.id) {
                    panic!("{at:?} is owned by {other} and {}", member.id);
                }
            }
        }
    }

    /// All is quiet: everybody is in, and hears what there is to hear.
    fn end(&mut self) {
        self.world.append_error = None;
        self.advance(2 * SESSION_MS);
        for _ in 0..30 {
            for i in 0..MEMBERS {
                if self.members[i].epoch == 0 {
                    self.join(i);
                } else {
                    self.beat(i);
                }
                self.check_owners();
            }
            self.advance(2_000);
        }
        let described = self.world.describe();
        assert_eq!(described.state.name(), "Stable", "{described:?}");
        let mut wanted: Vec<(TopicId, i32)> = Vec::new();
        for (name, (id, partitions)) in &self.world.topics.0 {
            if self.members.iter().any(|m| reads(m, name)) {
                wanted.extend((0..*partitions).map(|p| (*id, p)));
            }
        }
        let mut owned: Vec<_> = self.members.iter().flat_map(|m| m.owned.clone()).collect();
        wanted.sort_unstable();
        owned.sort_unstable();
        assert_eq!(owned, wanted, "everything is owned once");
        self.check_balance();
        let expected = self.world.shard.persistent_view();
        assert_eq!(self.world.replayed().persistent_view(), expected);
    }

    /// No partition could go to a member that has two less.
    fn check_balance(&self) {
        for rich in &self.members {
            for poor in self.members.iter().filter(|p| p.owned.len() + 1 < rich.owned.len()) {
                for (id, _) in &rich.owned {
                    let name = self.world.topics.topic_name(*id).unwrap();
                    assert!(!reads(poor, &name), "{} could go to {}", name, poor.id);
                }
            }
        }
    }
}

fn reads(member: &Member, topic: &str) -> bool {
    let by_regex = member.regex.as_deref().is_some_and(|r| !r.is_empty());
    member.topics.iter().any(|t| &**t == topic) || (by_regex && topic.starts_with("log-"))
}

#[test]
fn no_partition_has_two_owners_and_in_the_end_all_have_one() {
    let config = Config { cases: 200, failure_persistence: None, ..Config::default() };
    let rng = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    let mut runner = TestRunner::new_with_rng(config, rng);
    let steps = proptest::collection::vec(step(), 1..120);
    let run = |steps: Vec<Step>| {
        let mut model = Model::new();
        for step in steps {
            model.take(step);
        }
        model.end();
        Ok(())
    };
    runner.run(&steps, run).unwrap();
}
