//! Of requests that are about the cluster.

use std::collections::BTreeSet;

use wire::messages::alter_client_quotas_response::{EntityData, EntryData};
use wire::messages::alter_partition_reassignments_response::{
    ReassignablePartitionResponse, ReassignableTopicResponse,
};
use wire::messages::alter_user_scram_credentials_response::AlterUserScramCredentialsResult;
use wire::messages::create_acls_response::AclCreationResult;
use wire::messages::delete_acls_response::DeleteAclsFilterResult;
use wire::messages::elect_leaders_response::{PartitionResult, ReplicaElectionResult};
use wire::messages::*;

use crate::guard::{Guarded, Refusal};

/// Responses with one error and one message for all.
macro_rules! with_message {
    ($($Request:ident)*) => {
        $(impl Guarded for $Request {
            fn refuse(&self, _: i16, refusal: &Refusal) -> Self::Response {
                Self::Response {
                    error_code: refusal.code.code(),
                    error_message: refusal.text(),
                    ..Default::default()
                }
            }
        })*
    };
}

with_message! {
    UpdateFeaturesRequest
    UnregisterBrokerRequest
    AddRaftVoterRequest
    RemoveRaftVoterRequest
    DescribeAclsRequest
    DescribeUserScramCredentialsRequest
    ListPartitionReassignmentsRequest
}

impl Guarded for DescribeQuorumRequest {
    fn refuse(&self, version: i16, refusal: &Refusal) -> DescribeQuorumResponse {
        DescribeQuorumResponse {
            error_code: refusal.code.code(),
            error_message: if version >= 2 { refusal.text() } else { Some(wire::Str::default()) },
            ..Default::default()
        }
    }
}

/// Every entry is answered.
impl Guarded for AlterClientQuotasRequest {
    fn refuse(&self, _: i16, refusal: &Refusal) -> AlterClientQuotasResponse {
        let part = |part: &alter_client_quotas_request::EntityData| EntityData {
            entity_type: part.entity_type.clone(),
            entity_name: part.entity_name.clone(),
        };
        let entry = |entry: &alter_client_quotas_request::EntryData| EntryData {
            error_code: refusal.code.code(),
            error_message: refusal.text(),
            entity: entry.entity.iter().map(part).collect(),
        };
        AlterClientQuotasResponse {
            entries: self.entries.iter().map(entry).collect(),
            ..Default::default()
        }
    }
}

impl Guarded for DescribeClientQuotasRequest {
    fn refuse(&self, _: i16, refusal: &Refusal) -> DescribeClientQuotasResponse {
        DescribeClientQuotasResponse {
            error_code: refusal.code.code(),
            error_message: refusal.text(),
            entries: None,
            ..Default::default()
        }
    }
}

impl Guarded for DescribeLogDirsRequest {
    fn refuse(&self, _: i16, refusal: &Refusal) -> DescribeLogDirsResponse {
        DescribeLogDirsResponse { error_code: refusal.code.code(), ..Default::default() }
    }
}

impl Guarded for ListConfigResourcesRequest {
    fn refuse(&self, _: i16, refusal: &Refusal) -> ListConfigResourcesResponse {
        ListConfigResourcesResponse { error_code: refusal.code.code(), ..Default::default() }
    }
}

impl Guarded for CreateAclsRequest {
    fn refuse(&self, _: i16, refusal: &Refusal) -> CreateAclsResponse {
        let result = |_| AclCreationResult {
            error_code: refusal.code.code(),
            error_message: refusal.text(),
        };
        let results = self.creations.iter().map(result).collect();
        CreateAclsResponse { results, ..Default::default() }
    }
}

impl Guarded for DeleteAclsRequest {
    fn refuse(&self, _: i16, refusal: &Refusal) -> DeleteAclsResponse {
        let result = |_| DeleteAclsFilterResult {
            error_code: refusal.code.code(),
            error_message: refusal.text(),
            ..Default::default()
        };
        let filter_results = self.filters.iter().map(result).collect();
        DeleteAclsResponse { filter_results, ..Default::default() }
    }
}

impl Guarded for ElectLeadersRequest {
    fn refuse(&self, version: i16, refusal: &Refusal) -> ElectLeadersResponse {
        let partition = |partition_id: &i32| PartitionResult {
            partition_id: *partition_id,
            error_code: refusal.code.code(),
            error_message: refusal.text(),
        };
        let topics = self.topic_partitions.iter().flatten().map(|topic| ReplicaElectionResult {
            topic: topic.topic.clone(),
            partition_result: topic.partitions.iter().map(partition).collect(),
        });
        ElectLeadersResponse {
            // Version 0 has no place for it.
            error_code: if version >= 1 { refusal.code.code() } else { 0 },
            replica_election_results: topics.collect(),
            ..Default::default()
        }
    }
}

impl Guarded for AlterPartitionReassignmentsRequest {
    fn refuse(&self, _: i16, refusal: &Refusal) -> AlterPartitionReassignmentsResponse {
        let topics = self.topics.iter().map(|topic| ReassignableTopicResponse {
            name: topic.name.clone(),
            partitions: topic
                .partitions
                .iter()
                .map(|partition| ReassignablePartitionResponse {
                    partition_index: partition.partition_index,
                    error_code: refusal.code.code(),
                    error_message: refusal.text(),
                })
                .collect(),
        });
        AlterPartitionReassignmentsResponse {
            error_code: refusal.code.code(),
            error_message: refusal.text(),
            responses: topics.collect(),
            ..Default::default()
        }
    }
}

impl Guarded for AlterUserScramCredentialsRequest {
    fn refuse(&self, _: i16, refusal: &Refusal) -> AlterUserScramCredentialsResponse {
        let deletions = self.deletions.iter().map(|deletion| &deletion.name);
        let names = deletions.chain(self.upsertions.iter().map(|upsertion| &upsertion.name));
        let names: BTreeSet<&wire::Str> = names.collect();
        let result = |user: &wire::Str| AlterUserScramCredentialsResult {
            user: user.clone(),
            error_code: refusal.code.code(),
            error_message: refusal.text(),
        };
        let results = names.into_iter().map(result).collect();
        AlterUserScramCredentialsResponse { results, ..Default::default() }
    }
}
