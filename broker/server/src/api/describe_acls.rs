//! DescribeAcls (key 29): the rules of access, from this broker's image. Without an authorizer
//! there are none to tell of: clients (MirrorMaker, consoles) turn off what needs rules then.

use std::collections::BTreeMap;
use std::sync::Arc;

use authorizer::{Acl, AclFilter, Operation, PatternFilter, PatternType, Permission, ResourceType};
use base::ErrorCode;
use metadata::ControllerError;
use wire::Str;
use wire::messages::describe_acls_response::{AclDescription, DescribeAclsResource};
use wire::messages::{DescribeAclsRequest, DescribeAclsResponse};

use crate::{Broker, RequestContext};

/// As Kafka says it without an authorizer.
pub(super) const NO_AUTHORIZER: &str = "No Authorizer is configured.";
const NO_AUTHORIZER_HERE: &str = "No Authorizer is configured on the broker";
/// `ANY` in the enumerations of filters.
const ANY: i8 = 1;

pub async fn handle(
    broker: &Arc<Broker>,
    _: &RequestContext,
    request: DescribeAclsRequest,
) -> DescribeAclsResponse {
    if broker.authorization.is_none() {
        let error = ControllerError::new(ErrorCode::SecurityDisabled, NO_AUTHORIZER_HERE);
        return failed(&error);
    }
    let codes = FilterCodes {
        resource_type: request.resource_type_filter,
        pattern_type: request.pattern_type_filter,
        operation: request.operation,
        permission_type: request.permission_type,
    };
    let names = (request.resource_name_filter, request.principal_filter, request.host_filter);
    match filter(codes, names) {
        Ok(filter) => {
            let image = broker.image();
            let acls = image.acls().matching(&filter).map(|(_, acl)| &**acl);
            let resources = by_resource(acls);
            DescribeAclsResponse { error_message: None, resources, ..Default::default() }
        }
        Err(error) => failed(&error),
    }
}

fn failed(error: &ControllerError) -> DescribeAclsResponse {
    DescribeAclsResponse {
        error_code: error.code.code(),
        error_message: Some(Str::from(&error.message)),
        ..Default::default()
    }
}

/// What a filter says by numbers.
pub(super) struct FilterCodes {
    pub resource_type: i8,
    pub pattern_type: i8,
    pub operation: i8,
    pub permission_type: i8,
}

/// A filter of the wire; `names` are those of the resource, the principal and the host.
pub(super) fn filter(
    codes: FilterCodes,
    names: (Option<Str>, Option<Str>, Option<Str>),
) -> Result<AclFilter, ControllerError> {
    fn any_or<T>(
        what: &str,
        code: i8,
        from: fn(i8) -> Option<T>,
    ) -> Result<Option<T>, ControllerError> {
        let message = || format!("the filter has an unknown {what} ({code})");
        let unknown = || ControllerError::new(ErrorCode::InvalidRequest, message());
        if code == ANY { Ok(None) } else { from(code).map(Some).ok_or_else(unknown) }
    }
    let FilterCodes { resource_type, pattern_type, operation, permission_type } = codes;
    let pattern = any_or("pattern type", pattern_type, PatternFilter::from_code)?;
    let (resource_name, principal, host) = names;
    Ok(AclFilter {
        resource_type: any_or("resource type", resource_type, ResourceType::from_code)?,
        resource_name: resource_name.map(Str::into_arc),
        pattern: pattern.unwrap_or_default(),
        principal: principal.map(Str::into_arc),
        host: host.map(Str::into_arc),
        operation: any_or("operation", operation, Operation::from_code)?,
        permission_type: any_or("permission type", permission_type, Permission::from_code)?,
    })
}

fn by_resource<'a>(acls: impl Iterator<Item = &'a Acl>) -> Vec<DescribeAclsResource> {
    let mut resources = BTreeMap::<(ResourceType, &str, PatternType), Vec<AclDescription>>::new();
    for acl in acls {
        let resource = (acl.resource_type, &*acl.resource_name, acl.pattern_type);
        resources.entry(resource).or_default().push(AclDescription {
            principal: Str::from(&acl.principal),
            host: Str::from(&acl.host),
            operation: acl.operation.code(),
            permission_type: acl.permission_type.code(),
        });
    }
    let resource = |((resource_type, name, pattern), acls): ((ResourceType, &str, _), _)| {
        let pattern: PatternType = pattern;
        DescribeAclsResource {
            resource_type: resource_type.code(),
            resource_name: Str::from(name),
            pattern_type: pattern.code(),
            acls,
        }
    };
    resources.into_iter().map(resource).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_of_unknown_things_is_refused() {
        let ask = |resource_type, pattern_type, operation, permission_type| {
            let codes = FilterCodes { resource_type, pattern_type, operation, permission_type };
            filter(codes, (Some("t".into()), None, None)).map_err(|e| e.code)
        };
        let any = ask(1, 1, 1, 1).unwrap();
        assert_eq!(any.resource_name.as_deref(), Some("t"));
        assert_eq!((any.resource_type, any.pattern), (None, PatternFilter::Any));
        let some = ask(2, 2, 3, 2).unwrap();
        assert_eq!(
            (some.resource_type, some.pattern),
            (Some(ResourceType::Topic), PatternFilter::Match)
        );
        for (r, p, o, t) in [(0, 1, 1, 1), (1, 0, 1, 1), (1, 1, 99, 1), (1, 1, 1, 4)] {
            assert_eq!(ask(r, p, o, t), Err(ErrorCode::InvalidRequest));
        }
    }

    #[test]
    fn rules_are_told_resource_by_resource() {
        let acl = |name: &str, operation| Acl {
            resource_type: ResourceType::Topic,
            resource_name: name.into(),
            pattern_type: PatternType::Literal,
            principal: "User:a".into(),
            host: "*".into(),
            operation,
            permission_type: Permission::Allow,
        };
        let acls =
            [acl("b", Operation::Read), acl("a", Operation::Read), acl("b", Operation::Write)];
        let told = by_resource(acls.iter());
        let told: Vec<_> = told.iter().map(|r| (r.resource_name.as_str(), r.acls.len())).collect();
        assert_eq!(told, [("a", 1), ("b", 2)]);
    }
}
