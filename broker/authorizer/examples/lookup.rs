//! How long a decision takes with 100,000 rules:
//! `cargo run --release --package authorizer --example lookup`.

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use authorizer::{
    Acl, AclSet, Authorizer, Operation, PatternType, Permission, Requester, ResourceType,
};

const USERS: usize = 10_000;
const TEAMS: usize = 500;
const CALLS: u32 = 100_000;

fn rule(user: usize, name: String, pattern_type: PatternType, operation: Operation) -> Arc<Acl> {
    Arc::new(Acl {
        resource_type: ResourceType::Topic,
        resource_name: name.into(),
        pattern_type,
        principal: format!("User:user-{user}").into(),
        host: "*".into(),
        operation,
        permission_type: Permission::Allow,
    })
}

/// Ten rules per user: four topics, a prefix of its own and one of its team, everything described.
fn rules(user: usize) -> Vec<Arc<Acl>> {
    use PatternType::{Literal, Prefixed};
    let mut rules: Vec<Arc<Acl>> = (0..4)
        .map(|topic| rule(user, format!("user-{user}-topic-{topic}"), Literal, Operation::Read))
        .collect();
    for operation in [Operation::Read, Operation::Write] {
        rules.push(rule(user, format!("private.user-{user}."), Prefixed, operation));
        rules.push(rule(user, format!("team-{}.", user % TEAMS), Prefixed, operation));
    }
    rules.push(rule(user, "*".into(), Literal, Operation::Describe));
    rules.push(rule(user, "a".repeat(user % 60 + 1), Prefixed, Operation::Read));
    rules
}

fn time(what: &str, mut call: impl FnMut(usize) -> bool) {
    let began = clock();
    let allowed = (0..CALLS as usize).filter(|n| black_box(call(black_box(*n)))).count();
    let each = (clock() - began) / CALLS;
    println!("{what}: {each:?} each, {allowed} of {CALLS} allowed");
}

/// Cores have no clock; what measures them does.
#[allow(clippy::disallowed_methods)]
fn clock() -> Duration {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default()
}

fn main() {
    let mut set = AclSet::default();
    let began = clock();
    for (number, acl) in (0..USERS).flat_map(rules).enumerate() {
        let id = base::TopicId((number as u128 + 1).to_be_bytes());
        if let Err(error) = set.insert(id, acl) {
            println!("rule {number}: {error}");
        }
    }
    println!("{} rules in {:?}", set.len(), clock() - began);
    let authorizer = Authorizer::default();
    let who: Vec<Requester> = (0..USERS)
        .map(|user| Requester::new(format!("User:user-{user}"), [10, 0, 0, 1].into()))
        .collect();
    let ask = |user: usize, operation, name: &str| {
        let topic = ResourceType::Topic;
        authorizer.authorize(&set, &who[user % USERS], operation, topic, name).is_allowed()
    };
    let topic = |n: usize| format!("user-{}-topic-{}", n % USERS, n % 4);
    time("a topic of its own", |n| ask(n, Operation::Read, &topic(n)));
    time("a prefix of its team", |n| {
        ask(n, Operation::Write, &format!("team-{}.orders", n % USERS % TEAMS))
    });
    time("another's topic", |n| ask(n + 1, Operation::Read, &topic(n)));
    time("a long name of nobody", |n| ask(n, Operation::Read, &"a".repeat(n % 249 + 1)));
    time("any topic at all", |n| {
        let who = &who[n % USERS];
        authorizer.authorize_by_type(&set, who, Operation::Write, ResourceType::Topic)
    });
    time("one more rule and back", |n| {
        let mut next = set.clone();
        let id = base::TopicId((u128::MAX - n as u128).to_be_bytes());
        next.insert(id, rule(n, "new".into(), PatternType::Literal, Operation::Read)).is_ok()
            && next.remove(id).is_ok()
    });
}
