//! Kafka's error codes (`org.apache.kafka.common.protocol.Errors` of 4.4): number, name, meaning.

use std::fmt;

macro_rules! error_codes {
    ($($code:literal $name:ident $message:literal)*) => {
        /// An error code as the wire carries it. `None` is 0, success.
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
        #[repr(i16)]
        pub enum ErrorCode { $($name = $code,)* }

        impl ErrorCode {
            /// The code of a number from the wire; `None` where this version has no such code.
            pub fn from_i16(code: i16) -> Option<ErrorCode> {
                match code { $($code => Some(ErrorCode::$name),)* _ => None }
            }

            /// One sentence for people, without the details of the case.
            pub fn message(self) -> &'static str {
                match self { $(ErrorCode::$name => $message,)* }
            }
        }
    };
}

error_codes! {
    -1 UnknownServerError "The server experienced an unexpected error when processing the request"
    0 None "No error"
    1 OffsetOutOfRange
        "The requested offset is not within the range of offsets maintained by the server"
    2 CorruptMessage
        "The batch failed its CRC check, exceeds the valid size, or is otherwise corrupt"
    3 UnknownTopicOrPartition "This server does not host this topic-partition"
    4 InvalidFetchSize "The requested fetch size is invalid"
    5 LeaderNotAvailable "There is no leader for this topic-partition at the moment"
    6 NotLeaderOrFollower
        "This broker is neither leader nor follower of the partition as the request needs"
    7 RequestTimedOut "The request timed out"
    8 BrokerNotAvailable "The broker is not available"
    9 ReplicaNotAvailable "The replica is not available for the requested topic-partition"
    10 MessageTooLarge "The batch is larger than max.message.bytes"
    11 StaleControllerEpoch "The controller moved to another broker"
    12 OffsetMetadataTooLarge "The metadata field of the offset commit is too large"
    13 NetworkException "The server disconnected before a response was received"
    14 CoordinatorLoadInProgress "The coordinator is loading and cannot process requests yet"
    15 CoordinatorNotAvailable "The coordinator is not available"
    16 NotCoordinator "This is not the correct coordinator"
    17 InvalidTopicException "The topic name is invalid"
    18 RecordListTooLarge "The request contains a batch larger than a segment"
    19 NotEnoughReplicas "Fewer in-sync replicas than min.insync.replicas; nothing was appended"
    20 NotEnoughReplicasAfterAppend
        "Appended, but the in-sync replicas fell below min.insync.replicas"
    21 InvalidRequiredAcks "acks is none of -1, 0 and 1"
    22 IllegalGeneration "The group generation is not the current one"
    23 InconsistentGroupProtocol "The member's protocols do not match those of the group"
    24 InvalidGroupId "The group id is invalid"
    25 UnknownMemberId "The coordinator does not know this member"
    26 InvalidSessionTimeout "The session timeout is outside group.min/max.session.timeout.ms"
    27 RebalanceInProgress "The group is rebalancing, so a rejoin is needed"
    28 InvalidCommitOffsetSize "The committed offset data is too large"
    29 TopicAuthorizationFailed "Topic authorization failed"
    30 GroupAuthorizationFailed "Group authorization failed"
    31 ClusterAuthorizationFailed "Cluster authorization failed"
    32 InvalidTimestamp "The timestamp is outside the accepted range"
    33 UnsupportedSaslMechanism "The SASL mechanism is not supported"
    34 IllegalSaslState "The request is not valid in the current SASL state"
    35 UnsupportedVersion "The version of the API is not supported"
    36 TopicAlreadyExists "A topic with this name already exists"
    37 InvalidPartitions "The number of partitions is below 1 or otherwise invalid"
    38 InvalidReplicationFactor
        "The replication factor is below 1 or above the number of available brokers"
    39 InvalidReplicaAssignment "The replica assignment is invalid"
    40 InvalidConfig "The configuration is invalid"
    41 NotController "This is not the active controller"
    42 InvalidRequest "The request is malformed or its fields contradict each other"
    43 UnsupportedForMessageFormat "The message format does not support the request"
    44 PolicyViolation "The request violates a policy"
    45 OutOfOrderSequenceNumber "The sequence number is not the next one expected"
    46 DuplicateSequenceNumber "The sequence number was already used"
    47 InvalidProducerEpoch "The producer's epoch is older than the current one"
    48 InvalidTxnState "The transaction is in a state that does not allow the request"
    49 InvalidProducerIdMapping "The producer id is not the one of its transactional id"
    50 InvalidTransactionTimeout "The transaction timeout is larger than transaction.max.timeout.ms"
    51 ConcurrentTransactions "Another operation of this transaction is under way"
    52 TransactionCoordinatorFenced "The transaction coordinator was fenced"
    53 TransactionalIdAuthorizationFailed "Transactional id authorization failed"
    54 SecurityDisabled "Security features are disabled"
    55 OperationNotAttempted "The operation was not attempted"
    56 KafkaStorageError "A disk error hit the log directory"
    57 LogDirNotFound "The log directory is not configured"
    58 SaslAuthenticationFailed "SASL authentication failed"
    59 UnknownProducerId "The producer id is unknown"
    60 ReassignmentInProgress "A partition reassignment is in progress"
    61 DelegationTokenAuthDisabled "Delegation tokens are disabled"
    62 DelegationTokenNotFound "The delegation token is unknown"
    63 DelegationTokenOwnerMismatch "The principal is not the token's owner"
    64 DelegationTokenRequestNotAllowed
        "Delegation token requests are not allowed on this connection"
    65 DelegationTokenAuthorizationFailed "Delegation token authorization failed"
    66 DelegationTokenExpired "The delegation token has expired"
    67 InvalidPrincipalType "The principal type is not supported"
    68 NonEmptyGroup "The group is not empty"
    69 GroupIdNotFound "The group does not exist"
    70 FetchSessionIdNotFound "The fetch session does not exist"
    71 InvalidFetchSessionEpoch "The fetch session epoch is not the expected one"
    72 ListenerNotFound "The leader has no listener of the client's kind"
    73 TopicDeletionDisabled "Topic deletion is disabled"
    74 FencedLeaderEpoch "The leader epoch in the request is older than the broker's"
    75 UnknownLeaderEpoch "The leader epoch in the request is newer than the broker's"
    76 UnsupportedCompressionType "The client does not support the compression of the partition"
    77 StaleBrokerEpoch "The broker epoch has changed"
    78 OffsetNotAvailable "The leader's high watermark has not caught up after its election"
    79 MemberIdRequired "The member must rejoin with the id that it was given"
    80 PreferredLeaderNotAvailable "The preferred leader is not available"
    81 GroupMaxSizeReached "The group has its maximum size"
    82 FencedInstanceId "Another member registered with the same group.instance.id"
    83 EligibleLeadersNotAvailable "No eligible leader is available"
    84 ElectionNotNeeded "The partition needs no election"
    85 NoReassignmentInProgress "The partition is not being reassigned"
    86 GroupSubscribedToTopic "A consumer group is subscribed to the topic"
    87 InvalidRecord "A record failed the broker's validation"
    88 UnstableOffsetCommit "There are offsets of open transactions"
    89 ThrottlingQuotaExceeded "The throttling quota was exceeded"
    90 ProducerFenced "A newer producer with the same transactional id exists"
    91 ResourceNotFound "The resource does not exist"
    92 DuplicateResource "The resource already exists"
    93 UnacceptableCredential "The credential does not meet the criteria"
    94 InconsistentVoterSet "The voter sets differ"
    95 InvalidUpdateVersion "The given update version is not the current one"
    96 FeatureUpdateFailed "The feature levels could not be updated"
    97 PrincipalDeserializationFailure "The forwarded principal could not be decoded"
    98 SnapshotNotFound "The snapshot does not exist"
    99 PositionOutOfRange "The position is outside the snapshot"
    100 UnknownTopicId "This server does not know this topic id"
    101 DuplicateBrokerRegistration "The broker id is already registered by a live broker"
    102 BrokerIdNotRegistered "The broker id is not registered"
    103 InconsistentTopicId "The topic id does not match the one in the log"
    104 InconsistentClusterId "The cluster id does not match"
    105 TransactionalIdNotFound "The transactional id does not exist"
    106 FetchSessionTopicIdError "The fetch session mixes topic ids and names"
    107 IneligibleReplica "The replica may not join the ISR now"
    108 NewLeaderElected "The ISR change led to a new leader"
    109 OffsetMovedToTieredStorage "The offset is in tiered storage"
    110 FencedMemberEpoch "The member epoch is fenced by the coordinator"
    111 UnreleasedInstanceId "The instance id is still used by another member"
    112 UnsupportedAssignor "The assignor is not supported by the group"
    113 StaleMemberEpoch "The member epoch is stale"
    114 MismatchedEndpointType "The request went to an endpoint of the wrong type"
    115 UnsupportedEndpointType "The endpoint type is not supported"
    116 UnknownControllerId "The controller id is unknown"
    117 UnknownSubscriptionId "The telemetry subscription id is unknown"
    118 TelemetryTooLarge "The telemetry payload is too large"
    119 InvalidRegistration "The controller registration is invalid"
    120 TransactionAbortable "The transaction must be aborted"
    121 InvalidRecordState "The record state does not allow the acknowledgement"
    122 ShareSessionNotFound "The share session does not exist"
    123 InvalidShareSessionEpoch "The share session epoch is not the expected one"
    124 FencedStateEpoch "The share coordinator's state epoch is newer"
    125 InvalidVoterKey "The voter key does not match"
    126 DuplicateVoter "The voter is already in the voter set"
    127 VoterNotFound "The voter is not in the voter set"
    128 InvalidRegularExpression "The regular expression is invalid"
    129 RebootstrapRequired "The client must bootstrap again"
    130 StreamsInvalidTopology "The topology is invalid"
    131 StreamsInvalidTopologyEpoch "The topology epoch is invalid"
    132 StreamsTopologyFenced "The topology epoch is stale"
    133 ShareSessionLimitReached "The limit of share sessions is reached"
    134 GroupDeletionFailed "The group could not be deleted; its message says why"
    135 StreamsTopologyDescriptionUpdateFailed "The topology description could not be taken over"
    136 ControllerIdNotRegistered "The controller id is not registered"
}

impl ErrorCode {
    /// The number on the wire.
    pub fn code(self) -> i16 {
        self as i16
    }

    pub fn is_error(self) -> bool {
        self != ErrorCode::None
    }
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?}: {}", self.message())
    }
}

impl std::error::Error for ErrorCode {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_round_trip() {
        for code in -1..=136 {
            assert_eq!(ErrorCode::from_i16(code).map(ErrorCode::code), Some(code));
        }
        assert_eq!(ErrorCode::from_i16(9999), None);
    }
}
