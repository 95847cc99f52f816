//! Names that clients choose, and the directories behind them: none reaches what is not its own,
//! the longest work, and deletions of records are refused or waited for as in Kafka.

use std::fs;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use base::ErrorCode;
use e2e::admin::Admin;
use e2e::clients::kcat;
use e2e::{Cluster, ClusterConfig, wait, with_cluster};
use wire::messages::create_topics_request::{CreatableReplicaAssignment, CreatableTopic};
use wire::messages::delete_records_request::{DeleteRecordsPartition, DeleteRecordsTopic};
use wire::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use wire::messages::metadata_request::MetadataRequestTopic;
use wire::messages::{
    CreateTopicsRequest, DeleteRecordsRequest, DeleteTopicsRequest, FindCoordinatorRequest,
    ListOffsetsRequest, MetadataRequest, delete_topics_request,
};

const PATIENCE: Duration = Duration::from_secs(60);
const QUORUM: &str = "__cluster_metadata";
const EARLIEST: i64 = -2;
const HIGH_WATERMARK: i64 = -1;

#[test]
fn no_name_reaches_what_is_not_its_own() {
    let config = ClusterConfig::new(3).set("auto.create.topics.enable", true);
    // Directories of deleted topics go at once.
    with_cluster(config.set("log.segment.delete.delay.ms", 0), |cluster| {
        the_quorums_name_is_refused(cluster)?;
        what_is_not_ours_survives_a_start(cluster)?;
        the_longest_name_comes_back_empty(cluster)
    });
}

fn the_quorums_name_is_refused(cluster: &mut Cluster) -> Result<()> {
    let admin = cluster.admin()?;
    ensure!(create(&admin, QUORUM, &[1])? == ErrorCode::TopicAuthorizationFailed);
    let topic =
        MetadataRequestTopic { name: Some(QUORUM.into()), ..MetadataRequestTopic::default() };
    let request = MetadataRequest {
        topics: Some(vec![topic]),
        allow_auto_topic_creation: true,
        ..MetadataRequest::default()
    };
    let response = admin.call(&request)?;
    let code = response.topics.first().context("no topic")?.error_code;
    ensure!(code == ErrorCode::UnknownTopicOrPartition.code(), "{code}");
    ensure!(delete(&admin, QUORUM)? == ErrorCode::UnknownTopicOrPartition);
    for id in cluster.ids() {
        let former = cluster.data_dir(id).join(format!("{QUORUM}-0"));
        ensure!(former.is_file(), "{} is no note for older versions", former.display());
        ensure!(cluster.data_dir(id).join(format!("{QUORUM}.quorum")).is_dir());
    }
    Ok(())
}

fn what_is_not_ours_survives_a_start(cluster: &mut Cluster) -> Result<()> {
    let foreign = ["backup-2024", "old-delete", "photos-0.0123-delete"];
    for name in foreign {
        let dir = cluster.data_dir(1).join(name);
        fs::create_dir_all(&dir)?;
        fs::write(dir.join("letter"), "dear")?;
    }
    cluster.stop(1)?;
    cluster.start_broker(1)?;
    cluster.wait_broker(1)?;
    for name in foreign {
        let letter = cluster.data_dir(1).join(name).join("letter");
        ensure!(fs::read_to_string(&letter)? == "dear", "{}", letter.display());
    }
    Ok(())
}

fn the_longest_name_comes_back_empty(cluster: &mut Cluster) -> Result<()> {
    let (name, admin) = ("n".repeat(249), cluster.admin()?);
    ensure!(create(&admin, &name, &[2, 1, 3])? == ErrorCode::None);
    admin.wait_in_sync(&[&name], PATIENCE)?;
    let at = cluster.bootstrap();
    let produce = |record: &str| kcat(&["-b", &at, "-P", "-t", &name], record);
    produce("old\nolder\n")?;
    cluster.stop(2)?;
    let others = cluster.admin_without(2)?;
    ensure!(delete(&others, &name)? == ErrorCode::None);
    ensure!(create(&others, &name, &[2, 1, 3])? == ErrorCode::None);
    wait::until("a leader", PATIENCE, || {
        let partitions = others.partitions_agreed(&[&name])?;
        Ok(partitions.values().all(|p| p.leader > 0).then_some(()))
    })?;
    produce("new\n")?;
    cluster.start_broker(2)?;
    cluster.wait_broker(2)?;
    admin.wait_in_sync(&[&name], PATIENCE)?;
    wait::until("broker 2 to lead", PATIENCE, || {
        admin.elect_preferred()?;
        let partitions = admin.partitions_agreed(&[&name])?;
        Ok(partitions.values().all(|p| p.leader == 2).then_some(()))
    })?;
    let read = kcat(&["-b", &at, "-C", "-t", &name, "-o", "beginning", "-e", "-q"], "")?;
    ensure!(read.lines().eq(["new"]), "{read}");
    wait::until("the old log's end", PATIENCE, || {
        let mut left = fs::read_dir(cluster.data_dir(2))?;
        let is_left = left.any(|entry| {
            entry.is_ok_and(|entry| {
                let name = entry.file_name();
                name.to_string_lossy().starts_with("nnn") && name.len() == 255
            })
        });
        Ok((!is_left).then_some(()))
    })
}

#[test]
fn records_are_deleted_as_kafka_deletes_them() {
    with_cluster(ClusterConfig::new(3), |cluster| {
        some_logs_are_not_cut(cluster)?;
        what_was_deleted_stays_so(cluster)
    });
}

fn some_logs_are_not_cut(cluster: &mut Cluster) -> Result<()> {
    let admin = cluster.admin()?;
    let request = FindCoordinatorRequest {
        coordinator_keys: vec!["group".into()],
        ..FindCoordinatorRequest::default()
    };
    admin.call(&request)?;
    let offsets = wait::until("the offsets topic", PATIENCE, || {
        admin.partitions_agreed(&["__consumer_offsets"]).map(Some)
    })?;
    ensure!(!offsets.is_empty());
    // Whoever is asked, whether it leads or not.
    for id in cluster.ids() {
        let at = cluster.address(id);
        let (code, _) = delete_records(&admin, &at, "__consumer_offsets", HIGH_WATERMARK)?;
        ensure!(code == ErrorCode::InvalidTopicException, "{code:?}");
    }
    for (policy, expected) in
        [("compact", ErrorCode::PolicyViolation), ("compact,delete", ErrorCode::None)]
    {
        let name = policy.replace(',', "-");
        admin.create_topic(&name, 1, 3, &[("cleanup.policy", policy)])?;
        kcat(&["-b", &cluster.bootstrap(), "-P", "-t", &name, "-K", ":"], "k:v\nk:w\n")?;
        let leader = leader(&admin, &name)?;
        let (code, low) = delete_records(&admin, &cluster.address(leader), &name, 1)?;
        ensure!(code == expected && (low == 1) == (code == ErrorCode::None), "{code:?} {low}");
    }
    let (code, _) = delete_records(&admin, &cluster.address(1), "nobody-has-this", 0)?;
    ensure!(code == ErrorCode::UnknownTopicOrPartition, "{code:?}");
    Ok(())
}

/// The leader dies as soon as it has answered: whoever leads next has nothing older.
fn what_was_deleted_stays_so(cluster: &mut Cluster) -> Result<()> {
    let (admin, name) = (cluster.admin()?, "purged");
    admin.create_topic(name, 1, 3, &[])?;
    for round in 1..=4 {
        kcat(&["-b", &cluster.bootstrap(), "-P", "-t", name], "a\nb\nc\n")?;
        let first = leader(&admin, name)?;
        let at = cluster.address(first);
        let bounds =
            [(3 * round + 1, ErrorCode::OffsetOutOfRange), (-2, ErrorCode::OffsetOutOfRange)];
        for (offset, expected) in bounds {
            let (code, _) = delete_records(&admin, &at, name, offset)?;
            ensure!(code == expected, "{offset}: {code:?}");
        }
        let deleted = delete_records(&admin, &at, name, 3 * round)?;
        ensure!(deleted == (ErrorCode::None, 3 * round), "{deleted:?}");
        cluster.kill(first)?;
        let others = cluster.admin_without(first)?;
        let next = wait::until("another leader", PATIENCE, || {
            let next = leader(&others, name)?;
            Ok((next != first).then_some(next))
        })?;
        let start = wait::until("the log's start", PATIENCE, || {
            earliest(&others, &cluster.address(next), name).map(Some)
        })?;
        ensure!(start == 3 * round, "the new leader begins at {start}");
        cluster.start_broker(first)?;
        cluster.wait_broker(first)?;
        cluster.wait_in_sync()?;
    }
    a_dead_replica_is_not_waited_for(cluster, name)
}

fn a_dead_replica_is_not_waited_for(cluster: &mut Cluster, name: &str) -> Result<()> {
    let admin = cluster.admin()?;
    kcat(&["-b", &cluster.bootstrap(), "-P", "-t", name], "d\n")?;
    let first = leader(&admin, name)?;
    let other = cluster.ids().find(|id| *id != first).context("another broker")?;
    cluster.pause(other)?;
    // It is alive until its silence was noticed, and dead long before this request is over.
    let asked = Instant::now();
    let deleted = delete_records(&admin, &cluster.address(first), name, HIGH_WATERMARK);
    cluster.resume(other)?;
    let (code, low) = deleted?;
    ensure!(code == ErrorCode::None && low == 13, "{code:?} {low} after {:?}", asked.elapsed());
    Ok(())
}

fn create(admin: &Admin, name: &str, replicas: &[i32]) -> Result<ErrorCode> {
    let assignment =
        CreatableReplicaAssignment { partition_index: 0, broker_ids: replicas.to_vec() };
    let topic = CreatableTopic {
        name: name.into(),
        num_partitions: -1,
        replication_factor: -1,
        assignments: vec![assignment],
        ..CreatableTopic::default()
    };
    let request =
        CreateTopicsRequest { topics: vec![topic], timeout_ms: 10_000, validate_only: false };
    let response = admin.call(&request)?;
    code(response.topics.first().context("CreateTopics without its topic")?.error_code)
}

fn delete(admin: &Admin, name: &str) -> Result<ErrorCode> {
    let topic = delete_topics_request::DeleteTopicState {
        name: Some(name.into()),
        ..delete_topics_request::DeleteTopicState::default()
    };
    let request = DeleteTopicsRequest {
        topics: vec![topic],
        timeout_ms: 10_000,
        ..DeleteTopicsRequest::default()
    };
    let response = admin.call(&request)?;
    code(response.responses.first().context("DeleteTopics without its topic")?.error_code)
}

fn delete_records(admin: &Admin, at: &str, name: &str, offset: i64) -> Result<(ErrorCode, i64)> {
    let partitions = vec![DeleteRecordsPartition { partition_index: 0, offset }];
    let topics = vec![DeleteRecordsTopic { name: name.into(), partitions }];
    let response = admin.call_at(at, &DeleteRecordsRequest { topics, timeout_ms: 4_000 })?;
    let partition = response.topics.first().and_then(|topic| topic.partitions.first());
    let partition = partition.context("DeleteRecords without its partition")?;
    Ok((code(partition.error_code)?, partition.low_watermark))
}

fn earliest(admin: &Admin, at: &str, name: &str) -> Result<i64> {
    let partition = ListOffsetsPartition {
        timestamp: EARLIEST,
        current_leader_epoch: -1,
        ..ListOffsetsPartition::default()
    };
    let topic = ListOffsetsTopic { name: name.into(), partitions: vec![partition] };
    let request =
        ListOffsetsRequest { replica_id: -1, topics: vec![topic], ..ListOffsetsRequest::default() };
    let response = admin.call_at(at, &request)?;
    let partition = response.topics.first().and_then(|topic| topic.partitions.first());
    let partition = partition.context("ListOffsets without its partition")?;
    e2e::admin::check(partition.error_code, "ListOffsets")?;
    Ok(partition.offset)
}

fn leader(admin: &Admin, name: &str) -> Result<usize> {
    let partitions = admin.partitions(&[name])?;
    let partition = partitions.values().next().context("no partition")?;
    Ok(usize::try_from(partition.leader)?)
}

fn code(code: i16) -> Result<ErrorCode> {
    ErrorCode::from_i16(code).with_context(|| format!("error {code} is none of Kafka's"))
}
