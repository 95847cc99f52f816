//! Which rules are meant, by descriptions and deletions: `AclBindingFilter`.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::acl::{Acl, Operation, PatternType, Permission, ResourceType, WILDCARD};

/// How a filter means the name of a resource.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
pub enum PatternFilter {
    /// Rules of exactly this name.
    #[default]
    Any,
    /// Rules that apply to a resource of this name.
    Match,
    Only(PatternType),
}

impl PatternFilter {
    /// `None` for `UNKNOWN`.
    pub fn from_code(code: i8) -> Option<PatternFilter> {
        match code {
            1 => Some(PatternFilter::Any),
            2 => Some(PatternFilter::Match),
            _ => PatternType::from_code(code).map(PatternFilter::Only),
        }
    }
}

/// `None` stands for whatever the rule has.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
pub struct AclFilter {
    pub resource_type: Option<ResourceType>,
    pub resource_name: Option<Arc<str>>,
    pub pattern: PatternFilter,
    pub principal: Option<Arc<str>>,
    pub host: Option<Arc<str>>,
    pub operation: Option<Operation>,
    pub permission_type: Option<Permission>,
}

impl AclFilter {
    pub fn matches(&self, acl: &Acl) -> bool {
        fn is<T: PartialEq>(wanted: &Option<T>, value: &T) -> bool {
            wanted.as_ref().is_none_or(|wanted| wanted == value)
        }
        is(&self.resource_type, &acl.resource_type)
            && self.matches_pattern(acl)
            && is(&self.principal, &acl.principal)
            && is(&self.host, &acl.host)
            && is(&self.operation, &acl.operation)
            && is(&self.permission_type, &acl.permission_type)
    }

    fn matches_pattern(&self, acl: &Acl) -> bool {
        if let PatternFilter::Only(pattern) = self.pattern
            && pattern != acl.pattern_type
        {
            return false;
        }
        let Some(name) = &self.resource_name else { return true };
        let rule = &acl.resource_name;
        match (self.pattern, acl.pattern_type) {
            (PatternFilter::Match, PatternType::Literal) => name == rule || **rule == *WILDCARD,
            (PatternFilter::Match, PatternType::Prefixed) => name.starts_with(&**rule),
            (PatternFilter::Any | PatternFilter::Only(_), _) => name == rule,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_means_names_as_its_pattern_says() {
        let acl = |name: &str, pattern_type| Acl {
            resource_type: ResourceType::Topic,
            resource_name: name.into(),
            pattern_type,
            principal: "User:a".into(),
            host: "*".into(),
            operation: Operation::Read,
            permission_type: Permission::Allow,
        };
        let rules = [
            acl("orders", PatternType::Literal),
            acl("ord", PatternType::Prefixed),
            acl("*", PatternType::Literal),
            acl("orders", PatternType::Prefixed),
        ];
        let found = |pattern, name: Option<&str>| {
            let filter =
                AclFilter { pattern, resource_name: name.map(Arc::from), ..AclFilter::default() };
            rules.iter().map(|rule| filter.matches(rule)).collect::<Vec<_>>()
        };
        let only = PatternFilter::Only;
        assert_eq!(found(PatternFilter::Any, None), [true; 4]);
        assert_eq!(found(PatternFilter::Any, Some("orders")), [true, false, false, true]);
        assert_eq!(found(PatternFilter::Match, Some("orders")), [true; 4]);
        assert_eq!(found(PatternFilter::Match, Some("order")), [false, true, true, false]);
        assert_eq!(found(only(PatternType::Prefixed), None), [false, true, false, true]);
        assert_eq!(found(only(PatternType::Literal), Some("*")), [false, false, true, false]);
    }
}
