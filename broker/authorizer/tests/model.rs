//! The index against a model that goes through all rules, as Kafka's documentation says it.

#![allow(clippy::unwrap_used)]

use std::net::IpAddr;
use std::sync::Arc;

use authorizer::{
    Acl, AclId, AclSet, AclSetError, Authorizer, Operation, PatternType, Permission, Requester,
    ResourceType, Verdict,
};
use proptest::prelude::*;

const NAMES: &[&str] = &["*", "a", "ab", "abc", "b", "ä", "äb", "kafka-cluster"];
const PRINCIPALS: &[&str] = &["User:a", "User:b", "User:*", "Group:a"];
const HOSTS: &[&str] = &["*", "10.0.0.1", "10.0.0.0/8", "11.0.0.1", "::/0"];
const CLIENTS: &[&str] = &["10.0.0.1", "10.1.0.1", "11.0.0.1", "::1"];
const OPERATIONS: &[Operation] = &[
    Operation::All,
    Operation::Read,
    Operation::Write,
    Operation::Describe,
    Operation::Alter,
    Operation::AlterConfigs,
    Operation::DescribeConfigs,
];
const TYPES: &[ResourceType] = &[ResourceType::Topic, ResourceType::Group];

fn acl() -> impl Strategy<Value = Acl> {
    (
        prop::sample::select(TYPES),
        prop::sample::select(NAMES),
        prop::sample::select(PatternType::ALL_VALUES),
        prop::sample::select(PRINCIPALS),
        prop::sample::select(HOSTS),
        prop::sample::select(OPERATIONS),
        prop::bool::weighted(0.25),
    )
        .prop_map(|(resource_type, name, pattern_type, principal, host, operation, denies)| {
            Acl {
                resource_type,
                resource_name: name.into(),
                pattern_type,
                principal: principal.into(),
                host: host.into(),
                operation,
                permission_type: if denies { Permission::Deny } else { Permission::Allow },
            }
        })
}

/// Adds a rule, or removes the one at a place.
#[derive(Clone, Debug)]
enum Step {
    Add(Acl),
    Remove(prop::sample::Index),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => acl().prop_map(Step::Add),
        1 => any::<prop::sample::Index>().prop_map(Step::Remove),
    ];
    prop::collection::vec(step, 0..24)
}

fn host_matches(rule: &str, client: &str) -> bool {
    let address: IpAddr = client.parse().unwrap();
    match rule {
        "*" => true,
        "10.0.0.0/8" => client.starts_with("10."),
        "::/0" => address.is_ipv6(),
        text => text == client,
    }
}

fn is_about_who(acl: &Acl, principal: &str, client: &str) -> bool {
    (*acl.principal == *principal || &*acl.principal == "User:*") && host_matches(&acl.host, client)
}

fn is_about_name(acl: &Acl, name: &str) -> bool {
    match acl.pattern_type {
        PatternType::Literal => *acl.resource_name == *name || &*acl.resource_name == "*",
        PatternType::Prefixed => name.starts_with(&*acl.resource_name),
    }
}

fn allows(acl: &Acl, operation: Operation) -> bool {
    use Operation::*;
    acl.permission_type == Permission::Allow
        && (acl.operation == operation
            || acl.operation == All
            || operation == Describe && matches!(acl.operation, Read | Write | Delete | Alter)
            || operation == DescribeConfigs && acl.operation == AlterConfigs)
}

fn denies(acl: &Acl, operation: Operation) -> bool {
    acl.permission_type == Permission::Deny
        && (acl.operation == operation || acl.operation == Operation::All)
}

struct Model<'a> {
    acls: &'a [Acl],
    principal: &'a str,
    client: &'a str,
    operation: Operation,
    resource_type: ResourceType,
}

impl Model<'_> {
    fn verdict(&self, name: &str, otherwise: bool) -> Verdict {
        let of_type = self.acls.iter().filter(|acl| acl.resource_type == self.resource_type);
        let about: Vec<&Acl> = of_type.filter(|acl| is_about_name(acl, name)).collect();
        let who = |acl: &&&Acl| is_about_who(acl, self.principal, self.client);
        if about.iter().filter(who).any(|acl| denies(acl, self.operation)) {
            Verdict::Denied
        } else if about.iter().filter(who).any(|acl| allows(acl, self.operation)) {
            Verdict::Allowed
        } else if about.is_empty() {
            Verdict::NoRule { allowed: otherwise }
        } else {
            Verdict::NotAllowed
        }
    }

    /// `Authorizer.authorizeByResourceType`, step by step.
    fn by_type(&self, otherwise: bool) -> bool {
        if self.verdict("hardcode", otherwise).is_allowed() {
            return true;
        }
        let of_who: Vec<&Acl> = self
            .acls
            .iter()
            .filter(|acl| acl.resource_type == self.resource_type)
            .filter(|acl| is_about_who(acl, self.principal, self.client))
            .filter(|acl| acl.operation == self.operation || acl.operation == Operation::All)
            .collect();
        let with = |permission| of_who.iter().filter(move |acl| acl.permission_type == permission);
        let is_wildcard =
            |acl: &Acl| &*acl.resource_name == "*" && acl.pattern_type == PatternType::Literal;
        if with(Permission::Deny).any(|acl| is_wildcard(acl)) {
            return false;
        }
        with(Permission::Allow).any(|acl| {
            let name = &acl.resource_name;
            let dominates = |deny: &&&Acl| match deny.pattern_type {
                PatternType::Literal => {
                    acl.pattern_type == PatternType::Literal && deny.resource_name == *name
                }
                PatternType::Prefixed => name.starts_with(&*deny.resource_name),
            };
            is_wildcard(acl) || !with(Permission::Deny).any(|deny| dominates(&deny))
        })
    }
}

fn id(number: usize) -> AclId {
    base::TopicId((number as u128 + 1).to_be_bytes())
}

fn build(steps: Vec<Step>) -> (AclSet, Vec<Acl>) {
    let (mut set, mut kept) = (AclSet::default(), Vec::<(AclId, Acl)>::new());
    for (number, step) in steps.into_iter().enumerate() {
        match step {
            Step::Add(acl) => {
                let exists = kept.iter().any(|(_, known)| *known == acl);
                assert_eq!(set.contains(&acl), exists);
                match set.insert(id(number), Arc::new(acl.clone())) {
                    Ok(()) => kept.push((id(number), acl)),
                    Err(error) => assert_eq!(error, AclSetError::RuleExists(id(number))),
                }
            }
            Step::Remove(_) if kept.is_empty() => {
                assert_eq!(set.remove(id(number)), Err(AclSetError::UnknownId(id(number))));
            }
            Step::Remove(at) => {
                let (id, acl) = kept.remove(at.index(kept.len()));
                assert_eq!(*set.remove(id).unwrap(), acl);
            }
        }
        set.validate().unwrap();
    }
    (set, kept.into_iter().map(|(_, acl)| acl).collect())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn the_index_decides_as_all_rules_together(steps in steps(), otherwise in any::<bool>()) {
        let (set, acls) = build(steps);
        let authorizer = Authorizer::new("User:root", otherwise).unwrap();
        for (principal, client) in [("User:a", 0), ("User:b", 1), ("Group:a", 2), ("User:c", 3)] {
            let client = CLIENTS[client];
            let who = Requester::new(principal, client.parse().unwrap());
            for (&resource_type, &operation) in
                TYPES.iter().flat_map(|t| OPERATIONS.iter().map(move |o| (t, o)))
            {
                let model = Model { acls: &acls, principal, client, operation, resource_type };
                for name in ["a", "ab", "abcd", "c", "äbc", "*", "", "é"] {
                    let verdict = authorizer.authorize(&set, &who, operation, resource_type, name);
                    prop_assert_eq!(verdict, model.verdict(name, otherwise), "{}", name);
                }
                let any = authorizer.authorize_by_type(&set, &who, operation, resource_type);
                prop_assert_eq!(any, model.by_type(otherwise));
            }
        }
    }
}

#[test]
fn super_users_may_do_what_is_denied() {
    let (set, _) = build(vec![Step::Add(Acl {
        resource_type: ResourceType::Topic,
        resource_name: "*".into(),
        pattern_type: PatternType::Literal,
        principal: "User:*".into(),
        host: "*".into(),
        operation: Operation::All,
        permission_type: Permission::Deny,
    })]);
    let authorizer = Authorizer::new(" User:root; ;User:CN=x,O=y ", false).unwrap();
    let ask = |principal: &str| {
        let who = Requester::new(principal, "10.0.0.1".parse().unwrap());
        authorizer.authorize(&set, &who, Operation::Read, ResourceType::Topic, "t")
    };
    assert_eq!(ask("User:root"), Verdict::SuperUser);
    assert_eq!(ask("User:CN=x,O=y"), Verdict::SuperUser);
    assert_eq!(ask("User:root2"), Verdict::Denied);
    assert!(Authorizer::new("root", false).is_err());
    assert!(Authorizer::new("User:a;:b", false).is_err());
}

#[test]
fn authorized_operations_are_bits_by_code() {
    let authorizer = Authorizer::new("User:root", false).unwrap();
    let who = |name: &str| Requester::new(name, "10.0.0.1".parse().unwrap());
    let ask = |set: &AclSet, name: &str, resource_type| {
        authorizer.authorized_operations(set, &who(name), resource_type, "a")
    };
    let set = AclSet::default();
    assert_eq!(ask(&set, "User:root", ResourceType::Topic), 0b1101_1111_1000);
    assert_eq!(ask(&set, "User:a", ResourceType::Topic), 0);
    let (set, _) = build(vec![Step::Add(Acl {
        resource_type: ResourceType::Topic,
        resource_name: "a".into(),
        pattern_type: PatternType::Prefixed,
        principal: "User:a".into(),
        host: "*".into(),
        operation: Operation::Write,
        permission_type: Permission::Allow,
    })]);
    let (write, describe) = (1 << Operation::Write.code(), 1 << Operation::Describe.code());
    assert_eq!(ask(&set, "User:a", ResourceType::Topic), write | describe);
}
