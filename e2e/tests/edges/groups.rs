//! What a coordinator says of groups that do not exist, or hardly.

use anyhow::{Context, Result, ensure};
use base::ErrorCode;
use bytes::Bytes;
use e2e::wait;
use wire::messages::join_group_request::JoinGroupRequestProtocol;
use wire::messages::leave_group_request::MemberIdentity;
use wire::messages::metadata_request::MetadataRequestTopic;
use wire::messages::offset_commit_request::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use wire::messages::*;

use crate::{Edge, SOON, TOPIC, compare};

pub(crate) fn offsets_topic(edge: &mut Edge) -> Result<()> {
    let ask = |edge: &mut Edge, allow_auto_topic_creation| -> Result<usize> {
        let name = Some("__consumer_offsets".into());
        let topic = MetadataRequestTopic { name, ..Default::default() };
        let topics = Some(vec![topic]);
        let request = MetadataRequest { topics, allow_auto_topic_creation, ..Default::default() };
        let answer = edge.call(&request, 4)?;
        Ok(answer.topics.first().context("no topic")?.partitions.len())
    };
    ensure!(ask(edge, false)? == 0, "it was there before anybody asked for it");
    wait::until("the topic of the offsets", SOON, || {
        let partitions = ask(edge, true)?;
        Ok((partitions == 3).then_some(()))
    })
}

fn commit(edge: &mut Edge, group: &str, generation: i32, version: i16) -> Result<i16> {
    let partition = OffsetCommitRequestPartition {
        committed_offset: 1,
        committed_metadata: Some("".into()),
        ..Default::default()
    };
    let topic = OffsetCommitRequestTopic {
        name: TOPIC.into(),
        partitions: vec![partition],
        ..Default::default()
    };
    let request = OffsetCommitRequest {
        group_id: group.into(),
        generation_id_or_member_epoch: generation,
        member_id: if generation < 0 { "" } else { "member" }.into(),
        topics: vec![topic],
        ..Default::default()
    };
    let answer = edge.call(&request, version)?;
    let topic = answer.topics.first().context("no topic in the answer")?;
    Ok(topic.partitions.first().context("no partition in the answer")?.error_code)
}

/// Waits until the coordinator of the group answers.
fn coordinated(edge: &mut Edge, group: &str) -> Result<()> {
    wait::until("a coordinator", SOON, || {
        let find = FindCoordinatorRequest { key: group.into(), ..Default::default() };
        ensure!(edge.call(&find, 3)?.error_code == 0, "no coordinator");
        // It may be loading still. A member's commit changes nothing: there is no such group.
        let code = commit(edge, group, 5, 8)?;
        Ok((code == ErrorCode::IllegalGeneration.code()).then_some(()))
    })
}

pub(crate) fn unknown_groups(edge: &mut Edge) -> Result<()> {
    const MEMBER: i16 = ErrorCode::UnknownMemberId as i16;
    const GENERATION: i16 = ErrorCode::IllegalGeneration as i16;
    const NO_GROUP: i16 = ErrorCode::GroupIdNotFound as i16;
    // A member's request without a group is wrong whoever is asked, and before there is anybody.
    let code = edge.call(&JoinGroupRequest::default(), 5)?.error_code;
    ensure!(code == ErrorCode::InvalidGroupId.code(), "error {code} for a join of no group");
    for group in ["", "nobody", "alone"] {
        coordinated(edge, group)?;
    }
    let leave = LeaveGroupRequest {
        group_id: "nobody".into(),
        members: vec![
            MemberIdentity { member_id: "a".into(), ..Default::default() },
            MemberIdentity {
                member_id: "".into(),
                group_instance_id: Some("b".into()),
                ..Default::default()
            },
        ],
        ..Default::default()
    };
    let left = edge.call(&leave, 3)?;
    let members: Vec<i16> = left.members.iter().map(|member| member.error_code).collect();
    ensure!(left.error_code == 0 && members == [MEMBER, MEMBER], "{left:?}");
    let one = LeaveGroupRequest {
        group_id: "nobody".into(),
        member_id: "a".into(),
        ..Default::default()
    };
    let beat = HeartbeatRequest { group_id: "nobody".into(), ..Default::default() };
    let rows = [
        ("one member leaves", edge.call(&one, 1)?.error_code, MEMBER),
        ("a heartbeat", edge.call(&beat, 3)?.error_code, MEMBER),
        ("a member's commit", commit(edge, "nobody", 5, 8)?, GENERATION),
        ("a member's commit, newer", commit(edge, "nobody", 5, 9)?, NO_GROUP),
        ("a member's commit without a group", commit(edge, "", 5, 8)?, GENERATION),
        ("a member's commit without a group, newer", commit(edge, "", 5, 9)?, NO_GROUP),
        ("a commit of no member", commit(edge, "alone", -1, 9)?, 0),
    ];
    compare(&rows)
}

/// The coordinator writes a group down when it hears of it, not with its first generation.
pub(crate) fn first_join(edge: &mut Edge) -> Result<()> {
    let group = "begun";
    coordinated(edge, group)?;
    let protocol = JoinGroupRequestProtocol {
        name: "range".into(),
        metadata: Bytes::from_static(&[0, 0, 0, 0, 0, 0, 0, 0, 0, 0]),
    };
    let join = JoinGroupRequest {
        group_id: group.into(),
        // The least that the broker's file allows.
        session_timeout_ms: 1,
        rebalance_timeout_ms: 1000,
        protocol_type: "consumer".into(),
        protocols: vec![protocol],
        ..Default::default()
    };
    let joined = edge.call(&join, 5)?;
    ensure!(joined.error_code == ErrorCode::MemberIdRequired.code(), "{joined:?}");
    let listed = || ListGroupsRequest::default();
    wait::until("the promised member to be forgotten, and its group not", SOON, || {
        let describe = DescribeGroupsRequest { groups: vec![group.into()], ..Default::default() };
        let described = edge.call(&describe, 6)?;
        let described = described.groups.first().context("no group")?;
        ensure!(described.error_code == 0, "error {}", described.error_code);
        let all = edge.call(&listed(), 4)?;
        let found = all.groups.iter().find(|listed| listed.group_id == *group);
        Ok(found.filter(|found| found.group_state == "Empty").map(drop))
    })
}

pub(crate) fn consumer_protocol(edge: &mut Edge) -> Result<()> {
    let beat = ConsumerGroupHeartbeatRequest { group_id: "new".into(), ..Default::default() };
    for version in 0..=1 {
        let code = edge.call(&beat, version)?.error_code;
        ensure!(code == ErrorCode::InvalidRequest.code(), "error {code}");
    }
    let member = ConsumerGroupHeartbeatRequest { member_id: "m".into(), member_epoch: 3, ..beat };
    let reply = edge.call(&member, 1)?;
    ensure!(reply.error_code == ErrorCode::GroupIdNotFound.code(), "{reply:?}");
    let request = ApiVersionsRequest {
        client_software_name: "edges".into(),
        client_software_version: "1".into(),
        ..Default::default()
    };
    let versions = edge.call(&request, 4)?;
    let told = versions.api_keys.iter().find(|api| api.api_key == 68);
    ensure!(told.is_some_and(|api| api.max_version == 1), "{told:?}");
    let feature = versions.finalized_features.iter().find(|f| f.name == "group.version");
    ensure!(feature.is_some_and(|f| f.max_version_level == 1), "{feature:?}");
    Ok(())
}
