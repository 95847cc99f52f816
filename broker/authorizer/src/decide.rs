//! The decision, as `StandardAuthorizer` of Kafka 4.4 makes it: super users may do everything; else
//! a rule that denies wins over all that allow; where no rule is about the resource,
//! `allow.everyone.if.no.acl.found` decides; otherwise nobody may.

use core::net::IpAddr;
use std::collections::BTreeSet;
use std::sync::Arc;

use crate::acl::{Operation, PatternType, ResourceType, WILDCARD};
use crate::host::host_text;
use crate::index::{Index, Rules};
use crate::set::AclSet;

/// Whom a rule for everybody names.
const EVERYBODY: &str = "User:*";

/// Who asks, and from where.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Requester {
    /// `User:alice`.
    pub principal: Arc<str>,
    /// The address as rules write it.
    pub host: Arc<str>,
    address: IpAddr,
}

impl Requester {
    pub fn new(principal: impl Into<Arc<str>>, address: IpAddr) -> Requester {
        let host = host_text(address).into();
        Requester { principal: principal.into(), host, address: address.to_canonical() }
    }
}

/// A decision, with what it hangs on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    SuperUser,
    /// A rule allows it, and none denies it.
    Allowed,
    /// A rule denies it.
    Denied,
    /// Rules are about the resource, and none of them allows it.
    NotAllowed,
    /// No rule is about the resource: what the file says holds.
    NoRule {
        allowed: bool,
    },
}

impl Verdict {
    pub fn is_allowed(self) -> bool {
        match self {
            Verdict::SuperUser | Verdict::Allowed => true,
            Verdict::Denied | Verdict::NotAllowed => false,
            Verdict::NoRule { allowed } => allowed,
        }
    }
}

/// `super.users` has something that is no principal.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("expected principals like User:alice, separated by ';', but {0:?} is none")]
pub struct SuperUsersError(pub String);

/// What the brokers' files say.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Authorizer {
    super_users: BTreeSet<Arc<str>>,
    allow_without_rules: bool,
}

impl Authorizer {
    /// `super_users` as the key of that name has it: separated by semicolons.
    pub fn new(
        super_users: &str,
        allow_without_rules: bool,
    ) -> Result<Authorizer, SuperUsersError> {
        let named = super_users.split(';').map(str::trim).filter(|user| !user.is_empty());
        let principal = |user: &str| match user.find(':') {
            Some(colon) if colon > 0 => Ok(Arc::from(user)),
            _ => Err(SuperUsersError(user.to_owned())),
        };
        let super_users = named.map(principal).collect::<Result<_, _>>()?;
        Ok(Authorizer { super_users, allow_without_rules })
    }

    pub fn is_super_user(&self, principal: &str) -> bool {
        self.super_users.contains(principal)
    }

    /// Whether the operation on one resource is allowed.
    pub fn authorize(
        &self,
        acls: &AclSet,
        who: &Requester,
        operation: Operation,
        resource_type: ResourceType,
        name: &str,
    ) -> Verdict {
        if self.is_super_user(&who.principal) {
            return Verdict::SuperUser;
        }
        let index = acls.index(resource_type);
        let mut found = Found::default();
        for rules in applying(index, name) {
            found.look(rules, who, operation);
            if found.denied {
                return Verdict::Denied;
            }
        }
        match found {
            Found { allowed: true, .. } => Verdict::Allowed,
            Found { any: true, .. } => Verdict::NotAllowed,
            _ => Verdict::NoRule { allowed: self.allow_without_rules },
        }
    }

    /// Whether the operation is allowed on any resource of the type at all
    /// (`Authorizer.authorizeByResourceType`): a rule allows it for some name that no rule denies.
    pub fn authorize_by_type(
        &self,
        acls: &AclSet,
        who: &Requester,
        operation: Operation,
        resource_type: ResourceType,
    ) -> bool {
        // As Kafka asks: super users, and those whom the lack of rules allows it.
        if self.authorize(acls, who, operation, resource_type, "hardcode").is_allowed() {
            return true;
        }
        let index = acls.index(resource_type);
        let bits = operation.denied_by();
        let denies = |rules: &Rules| applicable(rules, who).any(|rule| rule.denied & bits != 0);
        if index.literal(WILDCARD).is_some_and(denies) {
            return false;
        }
        let is_denied = |pattern: PatternType, name: &str| {
            pattern == PatternType::Literal && index.literal(name).is_some_and(denies)
                || index.prefixes_of(name).any(denies)
        };
        let principals = [&*who.principal, EVERYBODY];
        principals.iter().flat_map(|principal| index.patterns_of(principal)).any(
            |(pattern, name, rules)| {
                // No operation implies another one here.
                let allows = applicable(rules, who).any(|rule| rule.allowed & bits != 0);
                let is_wildcard = pattern == PatternType::Literal && name == WILDCARD;
                allows && (is_wildcard || !is_denied(pattern, name))
            },
        )
    }

    /// What may be done with the resource, as answers carry it: bit n for the operation of code n.
    pub fn authorized_operations(
        &self,
        acls: &AclSet,
        who: &Requester,
        resource_type: ResourceType,
        name: &str,
    ) -> i32 {
        let is_allowed = |operation: &&Operation| {
            self.authorize(acls, who, **operation, resource_type, name).is_allowed()
        };
        let allowed = resource_type.operations().iter().filter(is_allowed);
        allowed.fold(0, |bits, operation| bits | 1 << operation.code())
    }
}

/// Rules about a resource: of its name, of all names, of beginnings of its name.
fn applying<'a>(index: &'a Index, name: &'a str) -> impl Iterator<Item = &'a Rules> {
    let everything = if name == WILDCARD { None } else { index.literal(WILDCARD) };
    index.literal(name).into_iter().chain(everything).chain(index.prefixes_of(name))
}

/// Those of the rules that are about who asks.
fn applicable<'a>(
    rules: &'a Rules,
    who: &'a Requester,
) -> impl Iterator<Item = &'a crate::index::Rule> {
    let others = if *who.principal == *EVERYBODY { None } else { Some(rules.of(EVERYBODY)) };
    let named = rules.of(&who.principal).chain(others.into_iter().flatten());
    named.filter(|rule| rule.host.matches(&who.host, who.address))
}

#[derive(Default)]
struct Found {
    any: bool,
    allowed: bool,
    denied: bool,
}

impl Found {
    fn look(&mut self, rules: &Rules, who: &Requester, operation: Operation) {
        self.any = true;
        for rule in applicable(rules, who) {
            self.denied |= rule.denied & operation.denied_by() != 0;
            self.allowed |= rule.allowed & operation.allowed_by() != 0;
        }
    }
}
