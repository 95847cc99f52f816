//! Which answer belongs to which request: whoever asks gets the answer of its own kind, or an
//! error.

use crate::request::*;
use crate::voter_change::VoterChange;

/// A request to the active controller, with the type of its answer.
pub trait ControllerCall: Into<ControllerRequest> {
    type Reply;

    /// `None`: the answer to another kind of request.
    fn reply(response: ControllerResponse) -> Option<Self::Reply>;
}

macro_rules! sends {
    ($kind:ident($request:ty)) => {
        impl From<$request> for ControllerRequest {
            fn from(request: $request) -> ControllerRequest {
                ControllerRequest::$kind(request)
            }
        }
    };
}

macro_rules! calls {
    ($($kind:ident($request:ty) -> $reply:ty;)*) => {$(
        sends!($kind($request));

        impl ControllerCall for $request {
            type Reply = $reply;

            fn reply(response: ControllerResponse) -> Option<$reply> {
                match response {
                    ControllerResponse::$kind(reply) => Some(reply),
                    _ => None,
                }
            }
        }
    )*};
}

calls! {
    RegisterBroker(RegisterBrokerRequest) -> RegisterBrokerResponse;
    Heartbeat(HeartbeatRequest) -> HeartbeatResponse;
    AlterIsr(AlterIsrRequest) -> AlterIsrResponse;
    CreateTopics(CreateTopicsRequest) -> Vec<CreateTopicResult>;
    DeleteTopics(DeleteTopicsRequest) -> Vec<DeleteTopicResult>;
    CreatePartitions(CreatePartitionsRequest) -> Vec<TopicResult>;
    IncrementalAlterConfigs(IncrementalAlterConfigsRequest) -> Vec<ConfigResult>;
    AlterConfigs(AlterConfigsRequest) -> Vec<ConfigResult>;
    ElectLeaders(ElectLeadersRequest) -> Vec<PartitionResult>;
    AlterPartitionReassignments(AlterReassignmentsRequest) -> Vec<PartitionResult>;
    ListPartitionReassignments(ListReassignmentsRequest) -> Vec<OngoingReassignment>;
    AllocateProducerIds(AllocateProducerIdsRequest) -> ProducerIdBlock;
    UpdateFeatures(UpdateFeaturesRequest) -> Vec<FeatureResult>;
    CreateAcls(CreateAclsRequest) -> CreatedAcls;
    DeleteAcls(DeleteAclsRequest) -> DeletedAcls;
    AlterScramCredentials(AlterScramCredentialsRequest) -> Vec<ScramResult>;
    AlterClientQuotas(AlterClientQuotasRequest) -> Vec<QuotaResult>;
}

/// The same for requests whose answer says only that it is done.
macro_rules! plain_calls {
    ($($kind:ident($request:ty);)*) => {$(
        sends!($kind($request));

        impl ControllerCall for $request {
            type Reply = ();

            fn reply(response: ControllerResponse) -> Option<()> {
                matches!(response, ControllerResponse::$kind).then_some(())
            }
        }
    )*};
}

plain_calls! {
    UnregisterBroker(UnregisterBrokerRequest);
    ChangeVoters(VoterChange);
}
