//! Fetch, of consumers and of followers: decides between the two, has `storage::fetch` serve it,
//! and names leaders where a client came to the wrong broker.

use std::sync::Arc;

use authorizer::{Operation, ResourceType};
use base::{BrokerId, ErrorCode};
use parking_lot::Mutex;
use storage::fetch::{Fetch, FetchServer, Reader as Fetcher, refused};
use wire::messages::fetch_response::{LeaderIdAndEpoch, NodeEndpoint};
use wire::messages::{FetchRequest, FetchResponse};
use wire::{ApiKey, Reader, Str};

use crate::api::leader_hint::LeaderHints;
use crate::broker::Broker;
use crate::dispatch::{answer, malformed};
use crate::net::{Reply, Started};
use crate::quotas::Used;
use crate::request::RequestContext;

/// Decodes the request; the rest happens when it is polled, which is at once.
pub fn start(broker: &Arc<Broker>, cx: RequestContext, body: &mut Reader) -> Started {
    match FetchRequest::decode(body, cx.version) {
        Ok(request) => {
            let broker = broker.clone();
            Started::Later(Box::pin(async move { handle(&broker, &cx, request).await }))
        }
        Err(error) => malformed(&cx, &error),
    }
}

async fn handle(broker: &Arc<Broker>, cx: &RequestContext, mut request: FetchRequest) -> Reply {
    let fetcher = match fetcher(broker, cx, &request) {
        Ok(fetcher) => fetcher,
        Err(code) => {
            let refused = refused(request, code);
            return answer(broker, ApiKey::Fetch, cx, refused, Used::Nothing);
        }
    };
    let (permit, is_follower) = (broker.permit(cx), fetcher.is_follower());
    let has_rules = !permit.is_open();
    let permit = Mutex::new(permit);
    // A fetch may wait for long, and rules go away meanwhile.
    let may_read = |topic: &str| {
        is_follower || {
            let mut permit = permit.lock();
            permit.renew(broker);
            permit.may(Operation::Read, ResourceType::Topic, topic)
        }
    };
    let is_consumer = matches!(fetcher, Fetcher::Consumer { .. });
    if is_consumer
        && let Some(bytes_max) = broker.quotas.fetch_bytes_max(&broker.image(), cx.client())
    {
        request.max_bytes = request.max_bytes.min(bytes_max);
    }
    let server = FetchServer {
        storage: &broker.storage,
        sessions: &broker.fetch_sessions,
        reads: &broker.read_ahead,
        is_memory_scarce: &|| broker.memory.is_scarce(),
        may_read: has_rules.then_some(&may_read),
    };
    let fetch = Fetch::received(fetcher, cx.version, request, cx.received);
    let mut response = server.serve(fetch).await;
    name_leaders(broker, cx, &mut response);
    let used = if is_consumer { Used::Fetched(records_bytes(&response)) } else { Used::Nothing };
    answer(broker, ApiKey::Fetch, cx, response, used)
}

fn records_bytes(response: &FetchResponse) -> usize {
    let partitions = response.responses.iter().flat_map(|topic| &topic.partitions);
    partitions.map(|data| data.records.len()).sum()
}

/// An error if the request says to come from a replica and does not.
fn fetcher(
    broker: &Broker,
    cx: &RequestContext,
    request: &FetchRequest,
) -> Result<Fetcher, ErrorCode> {
    let (id, epoch) = if cx.version >= 15 {
        (request.replica_state.replica_id, request.replica_state.replica_epoch)
    } else {
        (request.replica_id, -1)
    };
    Ok(match cx.sender.replica(id)? {
        Some(id) => Fetcher::follower(&broker.image(), id, epoch),
        None => {
            // As in Kafka, whoever can say where it is takes any replica, with a selector or not.
            let any_replica = cx.version >= 11;
            let near = brokers_near(broker, cx, &request.rack_id);
            Fetcher::consumer_near(request.isolation_level, any_replica, near)
        }
    })
}

/// The brokers that a consumer in this rack may be sent to; none without a selector.
fn brokers_near(broker: &Broker, cx: &RequestContext, rack: &str) -> Vec<BrokerId> {
    if rack.is_empty() || !broker.config.replica.rack_aware_reads {
        return Vec::new();
    }
    let image = broker.image();
    let is_near = |b: &&Arc<metadata::Broker>| {
        b.rack.as_deref() == Some(rack) && b.is_active() && b.listener(&cx.listener).is_some()
    };
    image.brokers().filter(is_near).map(|b| b.id).collect()
}

/// KIP-951. Versions 12 to 15 name the leader, but have no place for its address.
fn name_leaders(broker: &Broker, cx: &RequestContext, response: &mut FetchResponse) {
    if cx.version < 12 {
        return;
    }
    let image = broker.image();
    let mut hints = LeaderHints::default();
    for topic in &mut response.responses {
        for data in &mut topic.partitions {
            let code = ErrorCode::from_i16(data.error_code).unwrap_or(ErrorCode::None);
            if !LeaderHints::is_asked_for(code) {
                continue;
            }
            let by_id = image.topic_by_id(topic.topic_id).map(|topic| topic.name.clone());
            let name = by_id.unwrap_or_else(|| topic.topic.to_arc());
            let leader = hints.note(&image, &name, data.partition_index, None);
            if let Some((leader, epoch)) = leader {
                data.current_leader = LeaderIdAndEpoch { leader_id: leader.0, leader_epoch: epoch };
            }
        }
    }
    if cx.version >= 16 {
        let nodes = hints.nodes(&image, &cx.listener).into_iter();
        response.node_endpoints = nodes
            .map(|node| NodeEndpoint {
                node_id: node.id.0,
                host: Str::from(&node.endpoint.host),
                port: node.endpoint.port.into(),
                rack: node.rack.map(Str::from),
            })
            .collect();
    }
}
