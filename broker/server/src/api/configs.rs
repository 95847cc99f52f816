//! What the four config APIs and CreateTopics share: resources by their wire numbers, the way of an
//! alteration to the controller, and a topic's effective configs.

use std::sync::Arc;

use authorizer::{CLUSTER_NAME, Operation, ResourceType};
use base::{BrokerId, ErrorCode};
use metadata::config::{ConfigLayers, resolve, topic_configs as registry};
use metadata::{ConfigResource, ConfigResult, ControllerCall, ControllerError};
use wire::Str;
use wire::messages::create_topics_response::CreatableTopicConfigs;

use super::forward::{forward, outcome};
use crate::authorize::Permit;
use crate::{Broker, RequestContext};

pub(super) const TOPIC: i8 = 2;
pub(super) const BROKER: i8 = 4;
pub(super) const BROKER_LOGGER: i8 = 8;
pub(super) const CLIENT_METRICS: i8 = 16;
pub(super) const GROUP: i8 = 32;

/// The resource of a wire type and name. An empty broker name is the default of all brokers.
pub(super) fn resource_from_wire(kind: i8, name: &Str) -> Result<ConfigResource, ControllerError> {
    let invalid = |message: String| ControllerError::new(ErrorCode::InvalidRequest, message);
    match kind {
        TOPIC => Ok(ConfigResource::Topic(name.to_arc())),
        BROKER if name.is_empty() => Ok(ConfigResource::BrokerDefault),
        BROKER => match name.parse::<i32>() {
            Ok(id) => Ok(ConfigResource::Broker(BrokerId(id))),
            Err(_) => Err(invalid(format!("broker resource {name} is not a broker id"))),
        },
        CLIENT_METRICS => Ok(ConfigResource::ClientMetrics(name.to_arc())),
        GROUP => Ok(ConfigResource::Group(name.to_arc())),
        BROKER_LOGGER => {
            Err(invalid("log levels are set by the environment of the process".to_owned()))
        }
        _ => Err(invalid(format!("config resource type {kind} is unknown"))),
    }
}

/// Whether the sender may do that with the configs of a resource of the wire.
pub(super) fn check(
    permit: &Permit,
    operation: Operation,
    kind: i8,
    name: &str,
) -> Result<(), ControllerError> {
    let (resource_type, name) = match kind {
        TOPIC => (ResourceType::Topic, name),
        GROUP => (ResourceType::Group, name),
        BROKER | BROKER_LOGGER | CLIENT_METRICS => (ResourceType::Cluster, CLUSTER_NAME),
        // Refused as an unknown type.
        _ => return Ok(()),
    };
    permit.check(operation, resource_type, name).map_err(Into::into)
}

/// The answer for one resource, in the request's order.
pub(super) struct Altered {
    pub resource_type: i8,
    pub resource_name: Str,
    pub error_code: i16,
    pub error_message: Option<Str>,
}

/// One resource of a request, with its configs as the request has them.
pub(super) struct Asked<B> {
    pub resource_type: i8,
    pub resource_name: Str,
    pub configs: Vec<B>,
}

/// Sends what the sender may alter and `convert` takes to the controller, by one `call`, and
/// answers for all of it.
pub(super) async fn alter<B, T, C>(
    broker: &Arc<Broker>,
    cx: &RequestContext,
    asked: Vec<Asked<B>>,
    convert: fn(ConfigResource, Vec<B>) -> Result<T, ControllerError>,
    call: impl FnOnce(Vec<T>) -> C,
) -> Vec<Altered>
where
    C: ControllerCall<Reply = Vec<ConfigResult>>,
{
    let permit = broker.permit(cx);
    let (mut resources, mut targets) = (Vec::new(), Vec::new());
    let mut bodies = Vec::new();
    for Asked { resource_type: kind, resource_name: name, configs } in asked {
        let allowed = check(&permit, Operation::AlterConfigs, kind, &name);
        let target = allowed.and_then(|()| resource_from_wire(kind, &name)).and_then(|target| {
            bodies.push(convert(target.clone(), configs)?);
            Ok(target)
        });
        resources.push((kind, name));
        targets.push(target);
    }
    let results = match bodies.is_empty() {
        true => Ok(Vec::new()),
        false => forward(broker, call(bodies)).await,
    };
    let result = |target: Result<ConfigResource, ControllerError>| {
        let (target, results) = (target?, results.as_ref().map_err(Clone::clone)?);
        let answer = results.iter().find(|r| r.resource == target);
        answer.map_or_else(|| Err(ErrorCode::UnknownServerError.into()), |r| r.result.clone())
    };
    resources
        .into_iter()
        .zip(targets)
        .map(|((resource_type, resource_name), target)| {
            let (error_code, error_message) = outcome(&result(target));
            Altered { resource_type, resource_name, error_code, error_message }
        })
        .collect()
}

/// A topic's effective configs as CreateTopics answers them.
pub(super) fn topic_configs(broker: &Broker, topic: &str) -> Vec<CreatableTopicConfigs> {
    let image = broker.image();
    let layers = ConfigLayers::of_topic(&image, topic, Some(broker.id), &broker.config.explicit);
    let config = |def| {
        let resolved = resolve(def, &layers);
        CreatableTopicConfigs {
            name: Str::from(def.name),
            value: Some(Str::from(resolved.value)),
            read_only: false,
            config_source: resolved.source.code(),
            is_sensitive: false,
        }
    };
    registry().iter().map(config).collect()
}
