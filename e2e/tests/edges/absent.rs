//! What is told of features that are not there, and of nodes that are not here.

use anyhow::{Context, Result, ensure};
use base::ErrorCode;
use e2e::raw::Raw;
use record::{BatchBuilder, BatchOptions};
use wire::messages::*;

use crate::{Edge, SOON, TOPIC, compare, now_ms, produce};

pub(crate) fn absent_features(edge: &mut Edge) -> Result<()> {
    let acls = DescribeAclsRequest {
        resource_type_filter: 1,
        pattern_type_filter: 1,
        operation: 1,
        permission_type: 1,
        ..Default::default()
    };
    let create = CreateAclsRequest {
        creations: vec![create_acls_request::AclCreation {
            resource_type: 2,
            resource_name: TOPIC.into(),
            principal: "User:a".into(),
            host: "*".into(),
            operation: 3,
            permission_type: 3,
            ..Default::default()
        }],
    };
    let created = edge.call(&create, 3)?;
    let created = created.results.first().context("no result")?.error_code;
    let quotas = edge.call(&DescribeClientQuotasRequest::default(), 1)?;
    let users = edge.call(&DescribeUserScramCredentialsRequest::default(), 0)?;
    let transactions = edge.call(&ListTransactionsRequest::default(), 2)?;
    let unknown = DescribeTransactionsRequest { transactional_ids: vec!["t".into()] };
    let unknown = edge.call(&unknown, 0)?;
    let unknown = unknown.transaction_states.first().context("no id")?.error_code;
    let tokens = edge.call(&DescribeDelegationTokenRequest::default(), 3)?.error_code;
    let rows = [
        ("rules", edge.call(&acls, 3)?.error_code, ErrorCode::SecurityDisabled.code()),
        ("a new rule", created, ErrorCode::SecurityDisabled.code()),
        ("quotas", quotas.error_code, 0),
        ("users", users.error_code, 0),
        ("transactions", transactions.error_code, 0),
        // The topic of transactional ids does not exist: nobody is the coordinator of any.
        ("a transaction", unknown, ErrorCode::NotCoordinator.code()),
        ("tokens", tokens, ErrorCode::DelegationTokenRequestNotAllowed.code()),
    ];
    compare(&rows)?;
    ensure!(quotas.entries.is_some_and(|entries| entries.is_empty()), "somebody has a quota");
    ensure!(users.results.is_empty() && transactions.transaction_states.is_empty(), "not empty");
    producers(edge)
}

fn producers(edge: &mut Edge) -> Result<()> {
    let id = edge.call(
        &InitProducerIdRequest {
            transactional_id: None,
            transaction_timeout_ms: 1000,
            producer_id: -1,
            producer_epoch: -1,
        },
        4,
    )?;
    ensure!(id.error_code == 0, "no producer id: error {}", id.error_code);
    let mut builder = BatchBuilder::new(BatchOptions {
        producer_id: id.producer_id,
        producer_epoch: id.producer_epoch,
        base_sequence: 0,
        ..BatchOptions::default()
    });
    builder.append(now_ms(), None, Some(b"v"), &[]);
    let code = produce(edge, TOPIC, 0, builder.finish())?;
    ensure!(code == 0, "error {code}");
    let topic = describe_producers_request::TopicRequest {
        name: TOPIC.into(),
        partition_indexes: vec![0, 7],
    };
    let told = edge.call(&DescribeProducersRequest { topics: vec![topic] }, 0)?;
    let told = &told.topics.first().context("no topic")?.partitions;
    let known = told.first().context("no partition")?;
    let found = known.active_producers.iter().find(|p| p.producer_id == id.producer_id);
    ensure!(found.is_some_and(|p| p.last_sequence == 0), "{known:?}");
    let missing = told.get(1).context("no second partition")?.error_code;
    ensure!(missing == ErrorCode::UnknownTopicOrPartition.code(), "error {missing}");
    Ok(())
}

/// An address that belongs to another node now says so (KIP-1242).
pub(crate) fn misrouted(edge: &mut Edge) -> Result<()> {
    let cluster =
        edge.call(&DescribeClusterRequest { endpoint_type: 1, ..Default::default() }, 1)?;
    let ask = |cluster_id: Option<&str>, node_id| -> Result<i16> {
        let request = ApiVersionsRequest {
            client_software_name: "edges".into(),
            client_software_version: "1".into(),
            cluster_id: cluster_id.map(Into::into),
            node_id,
        };
        Ok(Raw::connect(&edge.address)?.call(&request, 5, SOON)?.error_code)
    };
    const MOVED: i16 = ErrorCode::RebootstrapRequired as i16;
    let own = Some(cluster.cluster_id.as_str());
    let rows = [
        ("nobody in particular", ask(None, -1)?, 0),
        ("this node", ask(own, 1)?, 0),
        ("another node", ask(own, 2)?, MOVED),
        ("another cluster", ask(Some("other"), 1)?, MOVED),
    ];
    compare(&rows)
}
