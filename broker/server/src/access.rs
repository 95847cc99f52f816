//! Which listener an API may be used on: the one table of it, and who is taken for a broker.
//!
//! Clients are not authenticated yet, so what a broker may do beyond a client hangs on two things:
//! the connection came in by `inter.broker.listener.name`, and its other end has proved that it has
//! the cluster's secret (see `broker_proof`). A client on the same listener proves nothing and
//! remains a client. While `barnabas.internal.secret.required=false`, the listener alone decides.

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
    /// Brokers: the handler refuses others with the code that Kafka has for it.
    Brokers,
}

/// The table.
pub fn right(api: ApiKey) -> Right {
    use ApiKey::*;
    match api {
        // Replica ids, the client id that may write to internal topics, and requests that were
        // passed on by another broker.
        Fetch | OffsetForLeaderEpoch | Produce | DescribeQuorum | AddRaftVoter
        | RemoveRaftVoter => Right::ClaimsChecked,
        // From version 4 on it comes from leaders.
        AddPartitionsToTxn => Right::ClaimsChecked,
        // Who may send it may end anybody's transaction.
        WriteTxnMarkers => Right::Brokers,
        ApiVersions | Metadata | ListOffsets | SaslHandshake | SaslAuthenticate => Right::Anyone,
        OffsetCommit | OffsetFetch | FindCoordinator | JoinGroup | Heartbeat | LeaveGroup
        | SyncGroup | DescribeGroups | ListGroups | DeleteGroups | OffsetDelete => Right::Anyone,
        CreateTopics | DeleteTopics | DeleteRecords | CreatePartitions | ElectLeaders => {
            Right::Anyone
        }
        DescribeConfigs | AlterConfigs | IncrementalAlterConfigs | ListConfigResources => {
            Right::Anyone
        }
        DescribeLogDirs | AlterReplicaLogDirs => Right::Anyone,
        AlterPartitionReassignments | ListPartitionReassignments => Right::Anyone,
        DescribeCluster
        | DescribeTopicPartitions
        | UnregisterBroker
        | UnregisterController
        | UpdateFeatures => Right::Anyone,
        InitProducerId | AddOffsetsToTxn | EndTxn | TxnOffsetCommit | DescribeProducers
        | DescribeTransactions | ListTransactions => Right::Anyone,
        DescribeAcls | CreateAcls | DeleteAcls => Right::Anyone,
        CreateDelegationToken
        | RenewDelegationToken
        | ExpireDelegationToken
        | DescribeDelegationToken => Right::Anyone,
        DescribeClientQuotas | AlterClientQuotas => Right::Anyone,
        DescribeUserScramCredentials | AlterUserScramCredentials => Right::Anyone,
        ConsumerGroupHeartbeat | ConsumerGroupDescribe => Right::Anyone,
        GetTelemetrySubscriptions | PushTelemetry => Right::Anyone,
        ShareGroupHeartbeat
        | ShareGroupDescribe
        | ShareFetch
        | ShareAcknowledge
        | DescribeShareGroupOffsets
        | AlterShareGroupOffsets
        | DeleteShareGroupOffsets => Right::Anyone,
        StreamsGroupHeartbeat | StreamsGroupDescribe | StreamsGroupTopologyDescriptionUpdate => {
            Right::Anyone
        }
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
        right(api) != Right::Brokers || self.is_broker()
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
