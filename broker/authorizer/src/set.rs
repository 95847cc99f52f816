//! All rules of a cluster. The metadata image has one, and changes it by its records; a clone
//! shares structure, so that every reader keeps the version that it began with.

use std::sync::Arc;

use imbl::OrdMap;

use crate::acl::{Acl, AclError, ResourceType};
use crate::filter::AclFilter;
use crate::host::HostPattern;
use crate::index::Index;

/// What a rule is removed by.
pub type AclId = base::TopicId;

/// A change that does not fit the set.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum AclSetError {
    #[error("a rule with the id {0} exists")]
    IdExists(AclId),
    #[error("the rule exists under another id than {0}")]
    RuleExists(AclId),
    #[error("no rule has the id {0}")]
    UnknownId(AclId),
    #[error(transparent)]
    Invalid(#[from] AclError),
}

/// A set with more rules than that is not looked through after each change.
const RULES_LOOKED_THROUGH: usize = 32;

#[derive(Clone, PartialEq, Default, Debug)]
pub struct AclSet {
    by_id: OrdMap<AclId, Arc<Acl>>,
    /// One per type of resource, derived from the rules.
    indexes: Arc<[Index; ResourceType::ALL_VALUES.len()]>,
}

fn place(resource_type: ResourceType) -> usize {
    (resource_type.code() - ResourceType::Topic.code()) as usize
}

impl AclSet {
    pub fn insert(&mut self, id: AclId, acl: Arc<Acl>) -> Result<(), AclSetError> {
        let inserted = self.put(id, acl.clone());
        debug_assert!(inserted.is_err() || self.contains(&acl), "a rule is not found: {acl:?}");
        self.validate_after();
        inserted
    }

    fn put(&mut self, id: AclId, acl: Arc<Acl>) -> Result<(), AclSetError> {
        let host = HostPattern::parse(&acl.host);
        let host = host.map_err(|error| AclError::Host(acl.host.clone(), error))?;
        if self.by_id.contains_key(&id) {
            return Err(AclSetError::IdExists(id));
        }
        if self.contains(&acl) {
            return Err(AclSetError::RuleExists(id));
        }
        Arc::make_mut(&mut self.indexes)[place(acl.resource_type)].insert(&acl, host);
        self.by_id.insert(id, acl);
        Ok(())
    }

    pub fn remove(&mut self, id: AclId) -> Result<Arc<Acl>, AclSetError> {
        let acl = self.by_id.remove(&id).ok_or(AclSetError::UnknownId(id))?;
        if let Ok(host) = HostPattern::parse(&acl.host) {
            Arc::make_mut(&mut self.indexes)[place(acl.resource_type)].remove(&acl, &host);
        }
        debug_assert!(!self.contains(&acl), "a rule that still counts: {acl:?}");
        self.validate_after();
        Ok(acl)
    }

    pub fn contains(&self, acl: &Acl) -> bool {
        self.index(acl.resource_type).contains(acl)
    }

    pub fn contains_id(&self, id: AclId) -> bool {
        self.by_id.contains_key(&id)
    }

    pub fn len(&self) -> usize {
        self.by_id.len()
    }

    pub fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }

    /// By id.
    pub fn iter(&self) -> impl Iterator<Item = (AclId, &Arc<Acl>)> {
        self.by_id.iter().map(|(id, acl)| (*id, acl))
    }

    /// The rules that a filter means.
    pub fn matching<'a>(
        &'a self,
        filter: &'a AclFilter,
    ) -> impl Iterator<Item = (AclId, &'a Arc<Acl>)> {
        self.iter().filter(|(_, acl)| filter.matches(acl))
    }

    /// After a change of a small set, where debug assertions are on.
    fn validate_after(&self) {
        if cfg!(debug_assertions) && self.len() <= RULES_LOOKED_THROUGH {
            assert_eq!(self.validate(), Ok(()), "{self:?}");
        }
    }

    /// Checks that the index says what the rules say. O(rules): for tests.
    pub fn validate(&self) -> Result<(), String> {
        let mut again = AclSet::default();
        for (id, acl) in self.iter() {
            again.put(id, acl.clone()).map_err(|error| error.to_string())?;
        }
        if again.indexes == self.indexes {
            Ok(())
        } else {
            Err("the index of rules is wrong".into())
        }
    }

    pub(crate) fn index(&self, resource_type: ResourceType) -> &Index {
        &self.indexes[place(resource_type)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::acl::{Operation, PatternType, Permission};

    fn set() -> AclSet {
        let mut set = AclSet::default();
        let acl = Acl {
            resource_type: ResourceType::Topic,
            resource_name: "t".into(),
            pattern_type: PatternType::Prefixed,
            principal: "User:a".into(),
            host: "*".into(),
            operation: Operation::Read,
            permission_type: Permission::Allow,
        };
        assert_eq!(set.insert(AclId::from_random(7), Arc::new(acl)), Ok(()));
        set
    }

    #[test]
    #[should_panic(expected = "the index of rules is wrong")]
    fn an_index_that_lacks_a_rule_is_seen() {
        let mut set = set();
        set.indexes = Arc::default();
        set.validate_after();
    }

    #[test]
    #[should_panic(expected = "the index of rules is wrong")]
    fn a_rule_that_is_gone_and_still_counts_is_seen() {
        let mut set = set();
        set.by_id = OrdMap::new();
        set.validate_after();
    }
}
