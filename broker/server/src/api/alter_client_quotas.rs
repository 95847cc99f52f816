//! AlterClientQuotas (key 49, KIP-546): sets and removes limits of users, client ids and addresses.

use std::sync::Arc;

use metadata::quota::QuotaName;
use metadata::{AlterQuotas, ControllerError, Image, QuotaOp, QuotaParts, QuotaResult};
use wire::Str;
use wire::messages::alter_client_quotas_request::EntryData as Asked;
use wire::messages::alter_client_quotas_response::{EntityData, EntryData};
use wire::messages::{AlterClientQuotasRequest, AlterClientQuotasResponse};

use super::forward::{await_image, forward, outcome};
use crate::{Broker, RequestContext};

pub async fn handle(
    broker: &Arc<Broker>,
    _: &RequestContext,
    request: AlterClientQuotasRequest,
) -> AlterClientQuotasResponse {
    let validate_only = request.validate_only;
    let entries: Vec<AlterQuotas> = request.entries.into_iter().map(convert).collect();
    let asked = metadata::AlterClientQuotasRequest { entries: entries.clone(), validate_only };
    let results = match forward(broker, asked).await {
        Ok(results) => results,
        Err(error) => refuse_all(entries.clone(), &error),
    };
    if !validate_only && results.iter().all(|r| r.result.is_ok()) {
        await_image(broker, |image| entries.iter().all(|entry| shows(image, entry))).await;
    }
    AlterClientQuotasResponse {
        entries: results.into_iter().map(answer).collect(),
        ..Default::default()
    }
}

fn convert(entry: Asked) -> AlterQuotas {
    let part = |e: wire::messages::alter_client_quotas_request::EntityData| {
        (e.entity_type.to_arc(), e.entity_name.map(|name| name.to_arc()))
    };
    let op = |op: wire::messages::alter_client_quotas_request::OpData| QuotaOp {
        key: op.key.to_arc(),
        value: (!op.remove).then_some(op.value),
    };
    AlterQuotas {
        entity: entry.entity.into_iter().map(part).collect(),
        ops: entry.ops.into_iter().map(op).collect(),
    }
}

/// Whether this broker's metadata has what was asked for.
fn shows(image: &Image, entry: &AlterQuotas) -> bool {
    let is_it = |parts: &QuotaParts, (kind, name): (&str, &QuotaName)| {
        parts.iter().any(|(k, n)| **k == *kind && n.as_ref() == name.name())
    };
    let values = image.quotas().find(|(entity, _)| {
        entity.parts().count() == entry.entity.len()
            && entity.parts().all(|part| is_it(&entry.entity, part))
    });
    let value = |key: &Arc<str>| values.and_then(|(_, values)| values.get(key)).copied();
    entry.ops.iter().all(|op| value(&op.key) == op.value)
}

fn refuse_all(entries: Vec<AlterQuotas>, error: &ControllerError) -> Vec<QuotaResult> {
    let refused =
        |entry: AlterQuotas| QuotaResult { entity: entry.entity, result: Err(error.clone()) };
    entries.into_iter().map(refused).collect()
}

fn answer(result: QuotaResult) -> EntryData {
    let (error_code, error_message) = outcome(&result.result);
    let part = |(kind, name): &(Arc<str>, Option<Arc<str>>)| EntityData {
        entity_type: Str::from(kind),
        entity_name: name.as_ref().map(Str::from),
    };
    EntryData { error_code, error_message, entity: result.entity.iter().map(part).collect() }
}
