//! From a frame to its handler: one exhaustive match over the APIs of the protocol. An API that is
//! not served is not advertised, and a request for it ends the connection, as in Kafka.

use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use wire::header::RequestHeader;
use wire::messages::*;
use wire::{ApiKey, Reader};

use crate::access;
pub use crate::answer::{answer, malformed, reply};
use crate::api;
use crate::broker::Broker;
use crate::guard::{Guarded, refusal};
use crate::net::{Begun, Input, Lent, Reply, Started};
use crate::quotas::Used;
use crate::request::RequestContext;
use crate::session::Session;
use process::metrics::{UNKNOWN_API, api_index};

/// Frames up to this size are copied: whoever keeps a part of one must not keep the buffer.
const COPIED_BYTES_MAX: usize = 64 * 1024;
/// Larger ones take too long to decode for a network thread.
const SHORT_BYTES_MAX: usize = 1 << 20;
/// What a request may take when it is decoded: several times its frame, and whatever small ones
/// do. Only one that was made to take more does.
const DECODED_BYTES_FREE: usize = 4 << 20;
const DECODED_FACTOR: usize = 8;

type Call = fn(&Arc<Broker>, RequestContext, &mut Reader) -> Started;

enum Handler {
    /// Reads its records in the connection's buffer.
    Produce,
    /// Changes what is known of the connection's other end.
    Prove,
    Call(Call),
    NotServed,
}

/// A handler that answers with one response. It is polled once in request order, then goes on by
/// itself.
macro_rules! call {
    ($module:ident, $Request:ident) => {{
        // Nothing is asked before it.
        const _: () = assert!(access::row(<$Request as wire::Request>::KEY).head.is_empty());
        fn start(broker: &Arc<Broker>, cx: RequestContext, body: &mut Reader) -> Started {
            let request = match $Request::decode(body, cx.version) {
                Ok(request) => request,
                Err(error) => return malformed(&cx, &error),
            };
            let broker = broker.clone();
            Started::Independent(Box::pin(async move {
                let response = api::$module::handle(&broker, &cx, request).await;
                answer(&broker, <$Request as wire::Request>::KEY, &cx, response, Used::Nothing)
            }))
        }
        Handler::Call(start)
    }};
}

/// The same for an API whose needs are asked before its handler.
macro_rules! guarded {
    ($module:ident, $Request:ident) => {{
        const _: () = assert!(!access::row(<$Request as wire::Request>::KEY).head.is_empty());
        fn start(broker: &Arc<Broker>, cx: RequestContext, body: &mut Reader) -> Started {
            let request = match $Request::decode(body, cx.version) {
                Ok(request) => request,
                Err(error) => return malformed(&cx, &error),
            };
            let broker = broker.clone();
            Started::Independent(Box::pin(async move {
                let response = match refusal(&broker.permit(&cx), &request) {
                    Some(refusal) => request.refuse(cx.version, &refusal),
                    None => api::$module::handle(&broker, &cx, request).await,
                };
                answer(&broker, <$Request as wire::Request>::KEY, &cx, response, Used::Nothing)
            }))
        }
        Handler::Call(start)
    }};
}

/// The table of APIs: an exhaustive match without a default arm.
macro_rules! apis {
    (
        served { $($api:ident $request:ident => $module:ident,)* }
        guarded { $($guarded:ident $head:ident => $behind:ident,)* }
        not served { $($not:ident,)* }
    ) => {
        fn handler(api: ApiKey) -> Handler {
            match api {
                ApiKey::Produce => Handler::Produce,
                ApiKey::SaslHandshake | ApiKey::SaslAuthenticate => Handler::Prove,
                ApiKey::Fetch => Handler::Call(api::fetch::start),
                $(ApiKey::$api => call!($module, $request),)*
                $(ApiKey::$guarded => guarded!($behind, $head),)*
                $(ApiKey::$not => Handler::NotServed,)*
            }
        }
    };
}

apis! {
    served {
        ApiVersions ApiVersionsRequest => api_versions,
        ListOffsets ListOffsetsRequest => list_offsets,
        Metadata MetadataRequest => metadata,
        OffsetFetch OffsetFetchRequest => offset_fetch,
        FindCoordinator FindCoordinatorRequest => find_coordinator,
        DescribeGroups DescribeGroupsRequest => describe_groups,
        ListGroups ListGroupsRequest => list_groups,
        DeleteGroups DeleteGroupsRequest => delete_groups,
        CreateTopics CreateTopicsRequest => create_topics,
        DeleteTopics DeleteTopicsRequest => delete_topics,
        DeleteRecords DeleteRecordsRequest => delete_records,
        CreatePartitions CreatePartitionsRequest => create_partitions,
        AddPartitionsToTxn AddPartitionsToTxnRequest => add_partitions_to_txn,
        OffsetForLeaderEpoch OffsetForLeaderEpochRequest => offset_for_leader_epoch,
        DescribeConfigs DescribeConfigsRequest => describe_configs,
        AlterConfigs AlterConfigsRequest => alter_configs,
        IncrementalAlterConfigs IncrementalAlterConfigsRequest => incremental_alter_configs,
        DescribeCluster DescribeClusterRequest => describe_cluster,
        DescribeTopicPartitions DescribeTopicPartitionsRequest => describe_topic_partitions,
        ConsumerGroupDescribe ConsumerGroupDescribeRequest => consumer_group_describe,
        CreateDelegationToken CreateDelegationTokenRequest => create_delegation_token,
        DescribeDelegationToken DescribeDelegationTokenRequest => describe_delegation_token,
        DescribeProducers DescribeProducersRequest => describe_producers,
        DescribeTransactions DescribeTransactionsRequest => describe_transactions,
        ExpireDelegationToken ExpireDelegationTokenRequest => expire_delegation_token,
        ListTransactions ListTransactionsRequest => list_transactions,
        RenewDelegationToken RenewDelegationTokenRequest => renew_delegation_token,
        WriteTxnMarkers WriteTxnMarkersRequest => write_txn_markers,
    }
    guarded {
        OffsetCommit OffsetCommitRequest => offset_commit,
        JoinGroup JoinGroupRequest => join_group,
        Heartbeat HeartbeatRequest => heartbeat,
        LeaveGroup LeaveGroupRequest => leave_group,
        SyncGroup SyncGroupRequest => sync_group,
        OffsetDelete OffsetDeleteRequest => offset_delete,
        InitProducerId InitProducerIdRequest => init_producer_id,
        AddOffsetsToTxn AddOffsetsToTxnRequest => add_offsets_to_txn,
        EndTxn EndTxnRequest => end_txn,
        DescribeLogDirs DescribeLogDirsRequest => describe_log_dirs,
        ElectLeaders ElectLeadersRequest => elect_leaders,
        AlterPartitionReassignments AlterPartitionReassignmentsRequest
            => alter_partition_reassignments,
        ListPartitionReassignments ListPartitionReassignmentsRequest
            => list_partition_reassignments,
        DescribeQuorum DescribeQuorumRequest => describe_quorum,
        UnregisterBroker UnregisterBrokerRequest => unregister_broker,
        AddRaftVoter AddRaftVoterRequest => add_raft_voter,
        RemoveRaftVoter RemoveRaftVoterRequest => remove_raft_voter,
        ConsumerGroupHeartbeat ConsumerGroupHeartbeatRequest => consumer_group_heartbeat,
        CreateAcls CreateAclsRequest => create_acls,
        DeleteAcls DeleteAclsRequest => delete_acls,
        DescribeAcls DescribeAclsRequest => describe_acls,
        AlterClientQuotas AlterClientQuotasRequest => alter_client_quotas,
        DescribeClientQuotas DescribeClientQuotasRequest => describe_client_quotas,
        AlterUserScramCredentials AlterUserScramCredentialsRequest => alter_user_scram_credentials,
        DescribeUserScramCredentials DescribeUserScramCredentialsRequest
            => describe_user_scram_credentials,
        ListConfigResources ListConfigResourcesRequest => list_config_resources,
        UpdateFeatures UpdateFeaturesRequest => update_features,
        TxnOffsetCommit TxnOffsetCommitRequest => txn_offset_commit,
    }
    not served {
        AlterReplicaLogDirs,
        GetTelemetrySubscriptions,
        PushTelemetry,
        ShareGroupHeartbeat,
        ShareGroupDescribe,
        ShareFetch,
        ShareAcknowledge,
        StreamsGroupHeartbeat,
        StreamsGroupDescribe,
        DescribeShareGroupOffsets,
        AlterShareGroupOffsets,
        DeleteShareGroupOffsets,
        StreamsGroupTopologyDescriptionUpdate,
        UnregisterController,
    }
}

/// The APIs to advertise, with their versions.
pub fn served() -> impl Iterator<Item = (ApiKey, RangeInclusive<i16>)> {
    ApiKey::all()
        .filter(|&api| !matches!(handler(api), Handler::NotServed))
        .map(|api| (api, api.advertised_versions()))
}

/// A frame that is handed over with its buffer.
struct Handed {
    frame: Bytes,
    _memory: Lent,
}

impl AsRef<[u8]> for Handed {
    fn as_ref(&self) -> &[u8] {
        &self.frame
    }
}

/// Starts the handler of the frame at the front of `input`, whose body is `length` bytes long, and
/// takes the frame out. Returns the index of the API's metrics with it.
pub fn start(
    broker: &Arc<Broker>,
    session: &mut Session,
    input: &mut Input,
    length: usize,
    received: Instant,
) -> (usize, Begun) {
    let body = wire::frame::PREFIX_BYTES..wire::frame::PREFIX_BYTES + length;
    if input.key() == Some(ApiKey::Produce.code()) {
        return start_produce(broker, session, input, length, received);
    }
    let frame = if length <= COPIED_BYTES_MAX {
        // Others may keep parts of the frame for long: they get their own small copy.
        let frame = Bytes::copy_from_slice(&input.buffer()[body]);
        input.consume(length);
        frame
    } else {
        let whole = std::mem::take(input.buffer()).freeze();
        let memory = input.replace(&whole[body.end..]);
        Bytes::from_owner(Handed { frame: whole.slice(body), _memory: memory })
    };
    let begun = start_frame(broker, session, frame, received);
    if session.is_newly_known() {
        input.allow(broker.config.net.request_bytes_max);
    }
    begun
}

/// The log takes the records out of the connection's buffer: they are copied once, into the page
/// cache. Nothing keeps a slice of it beyond the first poll, so it can be reused; only what takes
/// long does, and then the buffer is its.
fn start_produce(
    broker: &Arc<Broker>,
    session: &mut Session,
    input: &mut Input,
    length: usize,
    received: Instant,
) -> (usize, Begun) {
    let body = wire::frame::PREFIX_BYTES..wire::frame::PREFIX_BYTES + length;
    let whole = std::mem::take(input.buffer()).freeze();
    let (api, begun) = start_frame(broker, session, whole.slice(body.clone()), received);
    if matches!(begun.started, Started::Long(_) | Started::Held(_)) {
        let memory = input.replace(&whole[body.end..]);
        return (api, begun.keeping(memory));
    }
    match whole.try_into_mut() {
        Ok(buffer) => {
            *input.buffer() = buffer;
            input.consume(length);
        }
        Err(whole) => drop(input.replace(&whole[body.end..])),
    }
    (api, begun)
}

fn start_frame(
    broker: &Arc<Broker>,
    session: &mut Session,
    frame: Bytes,
    received: Instant,
) -> (usize, Begun) {
    let length = frame.len();
    let memory_max = DECODED_BYTES_FREE + length.saturating_mul(DECODED_FACTOR);
    let mut body = Reader::with_memory_max(frame, memory_max);
    let header = match RequestHeader::decode(&mut body) {
        Ok(header) => header,
        Err(error) => {
            tracing::debug!(peer = %session.info().peer, %error, "request header");
            return (UNKNOWN_API, Begun::refused("malformed request header"));
        }
    };
    let api = header.api_key;
    let cx = session.context(broker, &header, length, received);
    if let Err(reason) = session.permits(api) {
        return (api_index(api), Begun::refused(reason));
    }
    let call: Call = match handler(api) {
        _ if !api.supports(cx.version) => {
            let started = unsupported_version(broker, api, &cx);
            return (api_index(api), Begun { started, decoded: 0 });
        }
        Handler::Prove => {
            let started = session.authenticate(broker, api, &cx, &mut body);
            return (api_index(api), Begun { started, decoded: 0 });
        }
        Handler::NotServed => return (api_index(api), Begun::refused("API is not served")),
        Handler::Produce => api::produce::start,
        Handler::Call(call) => {
            if length > SHORT_BYTES_MAX {
                let broker = broker.clone();
                let work = move || begin(&broker, call, cx, body);
                return (
                    api_index(api),
                    Begun { started: Started::Long(Box::new(work)), decoded: 0 },
                );
            }
            call
        }
    };
    (api_index(api), begin(broker, call, cx, body))
}

fn begin(broker: &Arc<Broker>, call: Call, cx: RequestContext, mut body: Reader) -> Begun {
    let started = call(broker, cx, &mut body);
    Begun { started, decoded: body.memory() }
}

/// ApiVersions from the future is answered in version 0, with what we speak; everything else was
/// sent against what we said.
fn unsupported_version(broker: &Broker, api: ApiKey, cx: &RequestContext) -> Started {
    if api != ApiKey::ApiVersions {
        return Started::Done(Reply::Close("unsupported version"));
    }
    let response = api::api_versions::unsupported(broker);
    Started::Done(reply(api, &RequestContext { version: 0, ..cx.clone() }, &response))
}
