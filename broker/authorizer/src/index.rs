//! Rules by the resources that they are about, for one type of resource.

use std::sync::Arc;

use imbl::{HashMap, OrdMap, OrdSet};

use crate::acl::{Acl, PatternType, Permission};
use crate::host::HostPattern;

/// What one principal may and may not do from one host, as sets of operations.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Rule {
    pub principal: Arc<str>,
    pub host: HostPattern,
    pub allowed: u16,
    pub denied: u16,
}

/// The rules of one pattern, sorted by principal and host.
#[derive(Clone, PartialEq, Default, Debug)]
pub(crate) struct Rules(Vec<Rule>);

impl Rules {
    pub fn of<'a>(&'a self, principal: &'a str) -> impl Iterator<Item = &'a Rule> {
        let from = self.0.partition_point(|rule| *rule.principal < *principal);
        self.0[from..].iter().take_while(move |rule| *rule.principal == *principal)
    }

    fn find(&self, principal: &str, host: &HostPattern) -> Result<usize, usize> {
        self.0.binary_search_by(|rule| (&*rule.principal, &rule.host).cmp(&(principal, host)))
    }
}

/// The rules of one type of resource.
#[derive(Clone, PartialEq, Default, Debug)]
pub(crate) struct Index {
    literal: HashMap<Arc<str>, Arc<Rules>>,
    prefixed: HashMap<Arc<str>, Arc<Rules>>,
    /// Lengths of the prefixes, in bytes, with how many have it.
    lengths: OrdMap<usize, usize>,
    /// The patterns that name a principal.
    by_principal: OrdSet<(Arc<str>, PatternType, Arc<str>)>,
}

impl Index {
    pub fn literal(&self, name: &str) -> Option<&Rules> {
        self.literal.get(name).map(|rules| &**rules)
    }

    pub fn prefixed(&self, name: &str) -> Option<&Rules> {
        self.prefixed.get(name).map(|rules| &**rules)
    }

    /// The rules whose prefix the name begins with.
    pub fn prefixes_of<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Rules> {
        let lengths = self.lengths.range(..=name.len()).map(|(length, _)| *length);
        lengths.filter_map(|length| self.prefixed(name.get(..length)?))
    }

    /// The patterns with rules for the principal.
    pub fn patterns_of<'a>(
        &'a self,
        principal: &'a str,
    ) -> impl Iterator<Item = (PatternType, &'a str, &'a Rules)> {
        let from = (Arc::from(principal), PatternType::Literal, Arc::from(""));
        let named = self.by_principal.range(from..);
        named
            .take_while(move |(of, ..)| **of == *principal)
            .filter_map(|(_, pattern, name)| Some((*pattern, &**name, self.rules(*pattern, name)?)))
    }

    fn rules(&self, pattern: PatternType, name: &str) -> Option<&Rules> {
        match pattern {
            PatternType::Literal => self.literal(name),
            PatternType::Prefixed => self.prefixed(name),
        }
    }

    pub fn contains(&self, acl: &Acl) -> bool {
        let Ok(host) = HostPattern::parse(&acl.host) else { return false };
        let Some(rules) = self.rules(acl.pattern_type, &acl.resource_name) else { return false };
        let Ok(at) = rules.find(&acl.principal, &host) else { return false };
        let rule = &rules.0[at];
        let set = match acl.permission_type {
            Permission::Allow => rule.allowed,
            Permission::Deny => rule.denied,
        };
        set & acl.operation.bit() != 0
    }

    /// `host` is the rule's.
    pub fn insert(&mut self, acl: &Acl, host: HostPattern) {
        let (patterns, name) = (self.patterns(acl.pattern_type), &acl.resource_name);
        let is_new = !patterns.contains_key(name);
        let rules = Arc::make_mut(patterns.entry(name.clone()).or_default());
        let at = match rules.find(&acl.principal, &host) {
            Ok(at) => at,
            Err(at) => {
                let principal = acl.principal.clone();
                rules.0.insert(at, Rule { principal, host, allowed: 0, denied: 0 });
                at
            }
        };
        let rule = &mut rules.0[at];
        *set_of(rule, acl.permission_type) |= acl.operation.bit();
        if is_new && acl.pattern_type == PatternType::Prefixed {
            *self.lengths.entry(name.len()).or_insert(0) += 1;
        }
        self.by_principal.insert((acl.principal.clone(), acl.pattern_type, name.clone()));
    }

    pub fn remove(&mut self, acl: &Acl, host: &HostPattern) {
        let name = &acl.resource_name;
        let patterns = self.patterns(acl.pattern_type);
        let Some(rules) = patterns.get_mut(name).map(Arc::make_mut) else { return };
        let Ok(at) = rules.find(&acl.principal, host) else { return };
        let rule = &mut rules.0[at];
        *set_of(rule, acl.permission_type) &= !acl.operation.bit();
        if rule.allowed | rule.denied == 0 {
            rules.0.remove(at);
        }
        let (is_last, is_named) = (rules.0.is_empty(), rules.of(&acl.principal).next().is_some());
        if is_last {
            patterns.remove(name);
        }
        if is_last && acl.pattern_type == PatternType::Prefixed {
            self.forget_length(name.len());
        }
        if !is_named {
            self.by_principal.remove(&(acl.principal.clone(), acl.pattern_type, name.clone()));
        }
    }

    fn patterns(&mut self, pattern: PatternType) -> &mut HashMap<Arc<str>, Arc<Rules>> {
        match pattern {
            PatternType::Literal => &mut self.literal,
            PatternType::Prefixed => &mut self.prefixed,
        }
    }

    fn forget_length(&mut self, length: usize) {
        match self.lengths.get_mut(&length) {
            Some(count) if *count > 1 => *count -= 1,
            _ => drop(self.lengths.remove(&length)),
        }
    }
}

fn set_of(rule: &mut Rule, permission: Permission) -> &mut u16 {
    match permission {
        Permission::Allow => &mut rule.allowed,
        Permission::Deny => &mut rule.denied,
    }
}
