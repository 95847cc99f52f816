//! Who may send what: the one table of it.
//!
//! Each row says two things of an API. Its [`Right`] tells what a broker may do beyond a client:
//! the connection came in by `inter.broker.listener.name`, and its other end has proved that it has
//! the cluster's secret (see `broker_proof`). A client on the same listener proves nothing and
//! remains a client. While `barnabas.internal.secret.required=false`, the listener alone decides.
//!
//! Its needs tell what a principal has to be allowed where there is an authorizer: those of the
//! request's head are asked before the handler (`guard`), those of each resource by the handler
//! (`authorize`), which may ask for nothing else.

use authorizer::{Operation, ResourceType};
use base::{BrokerId, ErrorCode};
use quorum::secret::Guard;
use wire::ApiKey;

/// Who may send a request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Right {
    Anyone,
    /// Anyone, but what the request says to come from a broker has to: its handler asks the
    /// [`Sender`], and answers a false claim with the code that Kafka has for it.
    ClaimsChecked,
    /// Brokers, and whom the rules let act as one: the handler refuses others with the code that
    /// Kafka has for it.
    Brokers,
}

/// An operation on a resource of a type.
pub type Need = (Operation, ResourceType);

/// What the table says of an API.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    pub right: Right,
    /// Asked before the handler; refused as a whole.
    pub head: &'static [Need],
    /// Asked by the handler, resource by resource.
    pub each: &'static [Need],
}

impl Row {
    const fn of(right: Right, head: &'static [Need], each: &'static [Need]) -> Row {
        Row { right, head, each }
    }

    pub fn lists(&self, need: Need) -> bool {
        self.head.contains(&need) || self.each.contains(&need)
    }
}

/// The table. Alternatives count as needs, too: of `WriteTxnMarkers` one suffices.
#[allow(clippy::too_many_lines)]
pub const fn row(api: ApiKey) -> Row {
    use ApiKey::*;
    use Operation::{Alter, ClusterAction, Create, Delete, Describe, IdempotentWrite, Read, Write};
    use ResourceType::{Cluster, Group, Topic, TransactionalId};
    use Right::{Anyone, Brokers, ClaimsChecked};
    const NOTHING: &[Need] = &[];
    match api {
        ApiVersions | SaslHandshake | SaslAuthenticate => Row::of(Anyone, NOTHING, NOTHING),
        // Replica ids, the client id that may write to internal topics, and requests that were
        // passed on by another broker.
        Produce => Row::of(ClaimsChecked, NOTHING, &[(Write, Topic), (Write, TransactionalId)]),
        Fetch => Row::of(ClaimsChecked, NOTHING, &[(Read, Topic)]),
        OffsetForLeaderEpoch => {
            Row::of(ClaimsChecked, NOTHING, &[(ClusterAction, Cluster), (Describe, Topic)])
        }
        DescribeQuorum => Row::of(ClaimsChecked, &[(Describe, Cluster)], NOTHING),
        AddRaftVoter | RemoveRaftVoter => Row::of(ClaimsChecked, &[(Alter, Cluster)], NOTHING),
        // From version 4 on it comes from leaders.
        AddPartitionsToTxn => {
            Row::of(ClaimsChecked, NOTHING, &[(Write, TransactionalId), (Write, Topic)])
        }
        // Who may send it may end anybody's transaction.
        WriteTxnMarkers => Row::of(Brokers, NOTHING, &[(ClusterAction, Cluster), (Alter, Cluster)]),
        Metadata => Row::of(
            Anyone,
            NOTHING,
            &[(Describe, Topic), (Create, Topic), (Create, Cluster), (Describe, Cluster)],
        ),
        ListOffsets | DescribeTopicPartitions => Row::of(Anyone, NOTHING, &[(Describe, Topic)]),
        DescribeProducers => Row::of(Anyone, NOTHING, &[(Read, Topic)]),
        DescribeCluster => Row::of(Anyone, NOTHING, &[(Describe, Cluster)]),
        FindCoordinator => {
            Row::of(Anyone, NOTHING, &[(Describe, Group), (Describe, TransactionalId)])
        }
        JoinGroup | SyncGroup | Heartbeat | LeaveGroup => {
            Row::of(Anyone, &[(Read, Group)], NOTHING)
        }
        ConsumerGroupHeartbeat => Row::of(Anyone, &[(Read, Group), (Describe, Topic)], NOTHING),
        OffsetCommit => Row::of(Anyone, &[(Read, Group)], &[(Read, Topic)]),
        OffsetFetch => Row::of(Anyone, NOTHING, &[(Describe, Group), (Describe, Topic)]),
        OffsetDelete => Row::of(Anyone, &[(Delete, Group)], &[(Read, Topic)]),
        DescribeGroups => Row::of(Anyone, NOTHING, &[(Describe, Group)]),
        ConsumerGroupDescribe => Row::of(Anyone, NOTHING, &[(Describe, Group), (Describe, Topic)]),
        ListGroups => Row::of(Anyone, NOTHING, &[(Describe, Cluster), (Describe, Group)]),
        DeleteGroups => Row::of(Anyone, NOTHING, &[(Delete, Group)]),
        CreateTopics => Row::of(
            Anyone,
            NOTHING,
            &[(Create, Cluster), (Create, Topic), (Operation::DescribeConfigs, Topic)],
        ),
        DeleteTopics => {
            Row::of(Anyone, NOTHING, &[(Delete, Cluster), (Describe, Topic), (Delete, Topic)])
        }
        DeleteRecords => Row::of(Anyone, NOTHING, &[(Delete, Topic)]),
        CreatePartitions => Row::of(Anyone, NOTHING, &[(Alter, Topic)]),
        DescribeConfigs => Row::of(
            Anyone,
            NOTHING,
            &[
                (Operation::DescribeConfigs, Topic),
                (Operation::DescribeConfigs, Cluster),
                (Operation::DescribeConfigs, Group),
            ],
        ),
        AlterConfigs | IncrementalAlterConfigs => Row::of(
            Anyone,
            NOTHING,
            &[
                (Operation::AlterConfigs, Topic),
                (Operation::AlterConfigs, Cluster),
                (Operation::AlterConfigs, Group),
            ],
        ),
        ListConfigResources | DescribeClientQuotas => {
            Row::of(Anyone, &[(Operation::DescribeConfigs, Cluster)], NOTHING)
        }
        AlterClientQuotas => Row::of(Anyone, &[(Operation::AlterConfigs, Cluster)], NOTHING),
        DescribeLogDirs
        | ListPartitionReassignments
        | DescribeAcls
        | DescribeUserScramCredentials => Row::of(Anyone, &[(Describe, Cluster)], NOTHING),
        ElectLeaders
        | AlterPartitionReassignments
        | AlterReplicaLogDirs
        | UnregisterBroker
        | UnregisterController
        | UpdateFeatures
        | CreateAcls
        | DeleteAcls
        | AlterUserScramCredentials => Row::of(Anyone, &[(Alter, Cluster)], NOTHING),
        InitProducerId => Row::of(
            Anyone,
            &[(Write, TransactionalId), (IdempotentWrite, Cluster), (Write, Topic)],
            NOTHING,
        ),
        EndTxn => Row::of(Anyone, &[(Write, TransactionalId)], NOTHING),
        AddOffsetsToTxn => Row::of(Anyone, &[(Write, TransactionalId), (Read, Group)], NOTHING),
        TxnOffsetCommit => {
            Row::of(Anyone, &[(Write, TransactionalId), (Read, Group)], &[(Read, Topic)])
        }
        DescribeTransactions => {
            Row::of(Anyone, NOTHING, &[(Describe, TransactionalId), (Describe, Topic)])
        }
        ListTransactions => Row::of(Anyone, NOTHING, &[(Describe, TransactionalId)]),
        // Nobody gets one yet, whatever the rules say.
        CreateDelegationToken
        | RenewDelegationToken
        | ExpireDelegationToken
        | DescribeDelegationToken => Row::of(Anyone, NOTHING, NOTHING),
        // Not served.
        GetTelemetrySubscriptions
        | PushTelemetry
        | ShareGroupHeartbeat
        | ShareGroupDescribe
        | ShareFetch
        | ShareAcknowledge
        | DescribeShareGroupOffsets
        | AlterShareGroupOffsets
        | DeleteShareGroupOffsets
        | StreamsGroupHeartbeat
        | StreamsGroupDescribe
        | StreamsGroupTopologyDescriptionUpdate => Row::of(Anyone, NOTHING, NOTHING),
    }
}

/// The other end of a connection, as far as it is known.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Sender {
    Client,
    /// Whichever broker it says to be: nothing has to be proved.
    SomeBroker,
    Broker(BrokerId),
}

impl Sender {
    /// `is_of_brokers`: the connection came in by the listener of the brokers. `proved`: the
    /// broker whose proof came in on it.
    pub fn of(is_of_brokers: bool, guard: &Guard, proved: Option<BrokerId>) -> Sender {
        if !is_of_brokers {
            return Sender::Client;
        }
        match (proved, guard) {
            (Some(id), _) => Sender::Broker(id),
            (None, Guard::Strict(_)) => Sender::Client,
            (None, Guard::Open | Guard::Lenient(_)) => Sender::SomeBroker,
        }
    }

    pub fn is_broker(self) -> bool {
        self != Sender::Client
    }

    pub fn may_send(self, api: ApiKey) -> bool {
        row(api).right != Right::Brokers || self.is_broker()
    }

    /// The broker that a replica id stands for, `None` for a consumer's. A claim that is not proved
    /// is answered as Kafka answers those that lack the right to cluster actions.
    pub fn replica(self, claimed: i32) -> Result<Option<BrokerId>, ErrorCode> {
        let id = BrokerId(claimed);
        match self {
            _ if claimed < 0 => Ok(None),
            Sender::SomeBroker => Ok(Some(id)),
            Sender::Broker(proved) if proved == id => Ok(Some(id)),
            Sender::Broker(_) | Sender::Client => Err(ErrorCode::TopicAuthorizationFailed),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_replica_is_who_proved_to_be_it() {
        let refused = Err(ErrorCode::TopicAuthorizationFailed);
        for sender in [Sender::Client, Sender::SomeBroker, Sender::Broker(BrokerId(2))] {
            assert_eq!(sender.replica(-1), Ok(None), "{sender:?}");
        }
        assert_eq!(Sender::Client.replica(2), refused);
        assert_eq!(Sender::Broker(BrokerId(2)).replica(2), Ok(Some(BrokerId(2))));
        assert_eq!(Sender::Broker(BrokerId(2)).replica(3), refused);
        assert_eq!(Sender::SomeBroker.replica(3), Ok(Some(BrokerId(3))));
    }

    #[test]
    fn what_brokers_say_among_each_other_is_for_brokers() {
        assert!(!Sender::Client.may_send(ApiKey::WriteTxnMarkers));
        assert!(Sender::Broker(BrokerId(1)).may_send(ApiKey::WriteTxnMarkers));
        assert!(Sender::Client.may_send(ApiKey::Fetch));
    }
}
