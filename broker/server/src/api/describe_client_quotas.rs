//! DescribeClientQuotas (key 48, KIP-546): the limits of the entities that a filter matches.

use std::sync::Arc;

use base::ErrorCode;
use metadata::ControllerError;
use metadata::quota::{QuotaEntity, QuotaName, QuotaValues};
use wire::Str;
use wire::messages::describe_client_quotas_request::ComponentData;
use wire::messages::describe_client_quotas_response::{EntityData, EntryData, ValueData};
use wire::messages::{DescribeClientQuotasRequest, DescribeClientQuotasResponse};

use crate::{Broker, RequestContext};

const EXACT: i8 = 0;
const DEFAULT: i8 = 1;
const SPECIFIED: i8 = 2;

/// One part that an entity must have: `None` for any name.
type Component = (Arc<str>, Option<QuotaName>);

pub async fn handle(
    broker: &Arc<Broker>,
    _: &RequestContext,
    request: DescribeClientQuotasRequest,
) -> DescribeClientQuotasResponse {
    let components = match components(&request.components) {
        Ok(components) => components,
        Err(error) => {
            return DescribeClientQuotasResponse {
                error_code: error.code.code(),
                error_message: Some(Str::from(&error.message)),
                entries: None,
                ..Default::default()
            };
        }
    };
    let image = broker.image();
    let matching =
        image.quotas().filter(|(entity, _)| matches(entity, &components, request.strict));
    DescribeClientQuotasResponse {
        entries: Some(matching.map(|(entity, values)| entry(entity, values)).collect()),
        ..Default::default()
    }
}

fn components(asked: &[ComponentData]) -> Result<Vec<Component>, ControllerError> {
    let invalid = |message: String| Err(ControllerError::new(ErrorCode::InvalidRequest, message));
    let mut components: Vec<Component> = Vec::new();
    for component in asked {
        let kind = &*component.entity_type;
        if kind.is_empty() {
            return invalid("Invalid empty entity type.".to_owned());
        }
        if components.iter().any(|(known, _)| **known == *kind) {
            return invalid(format!(
                "Entity type {kind} cannot appear more than once in the filter."
            ));
        }
        if !["user", "client-id", "ip"].contains(&kind) {
            let message = format!("Unsupported entity type {kind}");
            return Err(ControllerError::new(ErrorCode::UnsupportedVersion, message));
        }
        let name = match (component.match_type, &component.r#match) {
            (EXACT, Some(name)) => Some(QuotaName::Named(name.to_arc())),
            (EXACT, None) => {
                let why = "Request specified MATCH_TYPE_EXACT, but set match string to null.";
                return invalid(why.to_owned());
            }
            (DEFAULT, None) => Some(QuotaName::Default),
            (SPECIFIED, None) => None,
            (DEFAULT | SPECIFIED, Some(_)) => {
                let named = if component.match_type == DEFAULT { "DEFAULT" } else { "SPECIFIED" };
                return invalid(format!(
                    "Request specified MATCH_TYPE_{named}, but also specified a match string."
                ));
            }
            (other, _) => return invalid(format!("Unknown match type {other}")),
        };
        components.push((kind.into(), name));
    }
    let has = |kind: &str| components.iter().any(|(known, _)| **known == *kind);
    if has("ip") && (has("user") || has("client-id")) {
        let why = "Invalid entity filter component combination. IP filter component should not be \
                   used with user or clientId filter component.";
        return invalid(why.to_owned());
    }
    Ok(components)
}

fn matches(entity: &QuotaEntity, components: &[Component], is_strict: bool) -> bool {
    let fits = |(kind, wanted): &Component| {
        let part = entity.parts().find(|(known, _)| *known == &**kind);
        part.is_some_and(|(_, name)| wanted.as_ref().is_none_or(|wanted| wanted == name))
    };
    components.iter().all(fits) && (!is_strict || entity.parts().count() == components.len())
}

fn entry(entity: &QuotaEntity, values: &QuotaValues) -> EntryData {
    let part = |(kind, name): (&'static str, &QuotaName)| EntityData {
        entity_type: Str::from(kind),
        entity_name: name.name().map(Str::from),
    };
    let value = |(key, value): (&Arc<str>, &f64)| ValueData { key: Str::from(key), value: *value };
    EntryData {
        entity: entity.parts().map(part).collect(),
        values: values.iter().map(value).collect(),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn named(name: &str) -> Option<QuotaName> {
        Some(QuotaName::Named(name.into()))
    }

    fn asked(kind: &str, match_type: i8, name: Option<&str>) -> ComponentData {
        ComponentData { entity_type: Str::from(kind), match_type, r#match: name.map(Str::from) }
    }

    #[test]
    fn a_filter_matches_as_kafkas_does() {
        let user = QuotaEntity { user: named("u"), ..Default::default() };
        let both = QuotaEntity { client_id: named("c"), ..user.clone() };
        let everybody = QuotaEntity { user: Some(QuotaName::Default), ..Default::default() };
        let all = [&user, &both, &everybody];
        let found = |filter: &[ComponentData], is_strict| {
            let components = components(filter).unwrap();
            all.map(|entity| matches(entity, &components, is_strict))
        };
        assert_eq!(found(&[], false), [true, true, true]);
        assert_eq!(found(&[], true), [false, false, false]);
        let exact = [asked("user", EXACT, Some("u"))];
        assert_eq!(found(&exact, false), [true, true, false]);
        assert_eq!(found(&exact, true), [true, false, false]);
        assert_eq!(found(&[asked("user", DEFAULT, None)], true), [false, false, true]);
        assert_eq!(found(&[asked("user", SPECIFIED, None)], true), [true, false, true]);
        let pair = [asked("user", SPECIFIED, None), asked("client-id", SPECIFIED, None)];
        assert_eq!(found(&pair, true), [false, true, false]);
    }

    #[test]
    fn a_filter_without_sense_is_refused() {
        let code = |filter: &[ComponentData]| components(filter).unwrap_err().code;
        let invalid = ErrorCode::InvalidRequest;
        assert_eq!(code(&[asked("", EXACT, Some("u"))]), invalid);
        assert_eq!(code(&[asked("user", EXACT, None)]), invalid);
        assert_eq!(code(&[asked("user", DEFAULT, Some("u"))]), invalid);
        assert_eq!(code(&[asked("user", 7, None)]), invalid);
        assert_eq!(code(&[asked("user", DEFAULT, None), asked("user", DEFAULT, None)]), invalid);
        assert_eq!(code(&[asked("user", DEFAULT, None), asked("ip", DEFAULT, None)]), invalid);
        assert_eq!(code(&[asked("team", DEFAULT, None)]), ErrorCode::UnsupportedVersion);
    }
}
