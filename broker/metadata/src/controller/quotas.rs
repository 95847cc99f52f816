//! AlterClientQuotas: entities and keys are judged as by Kafka's `ClientQuotaControlManager`, with
//! its messages. Each entry is done as a whole or not at all.

use core::net::IpAddr;
use std::collections::BTreeSet;
use std::sync::Arc;

use base::ErrorCode;

use super::draft::Draft;
use super::failure::error;
use crate::level::QUOTA_LEVEL;
use crate::quota::{
    CONNECTION_CREATION_RATE, CONSUMER_BYTE_RATE, CONTROLLER_MUTATION_RATE, PRODUCER_BYTE_RATE,
    QuotaEntity, QuotaName, REQUEST_PERCENTAGE,
};
use crate::record::{ClientQuotaRecord, MetadataRecord};
use crate::request::{
    AlterClientQuotasRequest, AlterQuotas, ControllerError, QuotaOp, QuotaParts, QuotaResult,
};

impl Draft<'_> {
    pub(super) fn alter_client_quotas(
        &mut self,
        request: AlterClientQuotasRequest,
    ) -> Result<Vec<QuotaResult>, ControllerError> {
        self.needs_level(QUOTA_LEVEL, "Quotas")?;
        let mut seen: BTreeSet<QuotaParts> = BTreeSet::new();
        let alter = |entry: AlterQuotas| {
            let mut sorted = entry.entity.clone();
            sorted.sort();
            let result = if seen.insert(sorted) {
                self.alter_quotas(&entry)
            } else {
                error(ErrorCode::InvalidRequest, "Ignoring duplicate entity")
            };
            QuotaResult { entity: entry.entity, result }
        };
        Ok(request.entries.into_iter().map(alter).collect())
    }

    fn alter_quotas(&mut self, entry: &AlterQuotas) -> Result<(), ControllerError> {
        let entity = entity_of(&entry.entity)?;
        let keys = keys_of(&entity)?;
        let mut seen = BTreeSet::new();
        for QuotaOp { key, value } in &entry.ops {
            let Some(kind) = keys.iter().find(|(known, _)| **known == **key).map(|key| key.1)
            else {
                return invalid(format!("Invalid configuration key {key}"));
            };
            if !seen.insert(key) {
                let message = format!("Duplicate quota key {key} not updating quota");
                return invalid(message);
            }
            if let Some(value) = value {
                kind.check(key, *value)?;
            }
        }
        let changes: Vec<ClientQuotaRecord> = entry
            .ops
            .iter()
            .filter(|op| {
                let before = self.image.quota(&entity).and_then(|values| values.get(&op.key));
                before.copied() != op.value
            })
            .map(|op| ClientQuotaRecord {
                entity: entity.clone(),
                key: op.key.clone(),
                value: op.value,
            })
            .collect();
        for record in changes {
            self.push(MetadataRecord::ClientQuota(record));
        }
        Ok(())
    }
}

fn invalid<T>(message: impl Into<String>) -> Result<T, ControllerError> {
    error(ErrorCode::InvalidRequest, message)
}

fn entity_of(parts: &[(Arc<str>, Option<Arc<str>>)]) -> Result<QuotaEntity, ControllerError> {
    let mut entity = QuotaEntity::default();
    for (kind, name) in parts {
        let part = match &**kind {
            "user" => &mut entity.user,
            "client-id" => &mut entity.client_id,
            "ip" => &mut entity.ip,
            _ => return invalid(format!("Unhandled client quota entity type: {kind}")),
        };
        if part.is_some() {
            let message = format!("Invalid client quota entity, duplicate entity entry {kind}");
            return invalid(message);
        }
        if name.as_ref().is_some_and(|name| name.is_empty()) {
            return invalid(format!("Empty {kind} not supported"));
        }
        *part = Some(QuotaName::of(name.clone()));
    }
    if entity == QuotaEntity::default() {
        return invalid("Invalid empty client quota entity");
    }
    Ok(entity)
}

/// What a value may be.
#[derive(Clone, Copy)]
enum Number {
    Whole(f64),
    Any,
}

const INT: Number = Number::Whole(i32::MAX as f64);
const LONG: Number = Number::Whole(i64::MAX as f64);
const OF_CLIENTS: &[(&str, Number)] = &[
    (PRODUCER_BYTE_RATE, LONG),
    (CONSUMER_BYTE_RATE, LONG),
    (REQUEST_PERCENTAGE, Number::Any),
    (CONTROLLER_MUTATION_RATE, Number::Any),
];
const OF_ADDRESSES: &[(&str, Number)] = &[(CONNECTION_CREATION_RATE, INT)];

fn keys_of(entity: &QuotaEntity) -> Result<&'static [(&'static str, Number)], ControllerError> {
    let Some(ip) = &entity.ip else { return Ok(OF_CLIENTS) };
    if entity.user.is_some() || entity.client_id.is_some() {
        return invalid(
            "Invalid quota entity combination, IP entity should not be combined with User or \
             ClientId",
        );
    }
    match ip.name() {
        Some(ip) if ip.parse::<IpAddr>().is_err() => {
            invalid(format!("{ip} is not a valid IP or resolvable host."))
        }
        _ => Ok(OF_ADDRESSES),
    }
}

impl Number {
    fn check(self, key: &str, value: f64) -> Result<(), ControllerError> {
        if !value.is_finite() {
            return invalid(format!("Quota {key} must be a finite number"));
        }
        if value <= 0.0 {
            return invalid(format!("Quota {key} must be greater than 0"));
        }
        let Number::Whole(most) = self else { return Ok(()) };
        if value > most {
            let kind = if most > f64::from(i32::MAX) { "a LONG" } else { "an INT" };
            return invalid(format!("Proposed value for {key} is too large for {kind}."));
        }
        if value.fract() != 0.0 {
            return invalid(format!("{key} cannot be a fractional value."));
        }
        Ok(())
    }
}
