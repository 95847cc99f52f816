//! What becomes of a pod's status in the planner's eyes.

#![allow(clippy::unwrap_used)]

use serde_json::{Value, json};

use super::*;

fn pod(status: Value) -> Pod {
    serde_json::from_value(json!({
        "metadata": {"name": "c-broker-1", "uid": "u", "creationTimestamp": "2026-01-01T00:00:00Z",
            "labels": {"controller-revision-hash": "c-broker-1"}},
        "spec": {"containers": [], "nodeName": "n1"}, "status": status,
    }))
    .unwrap()
}

const FINE: NodeState = NodeState::Fine { since_ms: None };

fn at(text: &str) -> i64 {
    text.parse::<Timestamp>().unwrap().as_millisecond()
}

fn seen(status: Value) -> PodView {
    view(&pod(status), Some("c-broker-1"), FINE, at("2026-01-01T00:10:00Z"))
}

#[test]
fn a_pod_that_no_node_takes_is_named_with_the_scheduler_s_words() {
    let pending = |since: &str| {
        seen(json!({"phase": "Pending", "conditions": [{"type": "PodScheduled",
            "status": "False", "reason": "Unschedulable", "lastTransitionTime": since,
            "message": "0/4 nodes: Insufficient cpu"}]}))
    };
    let moment = pending("2026-01-01T00:09:58Z");
    assert_eq!(moment.phase, PodPhase::Creating, "its volume may be on its way");
    let view = pending("2026-01-01T00:09:40Z");
    assert_eq!(view.phase, PodPhase::Unschedulable);
    assert_eq!(view.problem.unwrap(), "no node takes it: 0/4 nodes: Insufficient cpu");
}

#[test]
fn an_image_that_cannot_be_pulled_is_an_image_error() {
    let view = seen(json!({"phase": "Pending", "containerStatuses": [{"name": "broker",
        "image": "i", "imageID": "", "ready": false, "restartCount": 0,
        "state": {"waiting": {"reason": "ErrImagePull", "message": "not found"}}}]}));
    assert_eq!(view.phase, PodPhase::ImageError);
    assert_eq!(view.problem.unwrap(), "ErrImagePull: not found");
}

#[test]
fn between_two_crashes_a_pod_runs_and_is_known_to_crash() {
    let status = |state: Value, restarts: i32, finished: &str| {
        json!({"phase": "Running", "containerStatuses": [{"name": "broker", "image": "i",
            "imageID": "", "ready": false, "restartCount": restarts, "state": state,
            "lastState": {"terminated": {"exitCode": 2, "finishedAt": finished}}}]})
    };
    let waiting = json!({"waiting": {"reason": "CrashLoopBackOff"}});
    let running = json!({"running": {"startedAt": "2026-01-01T00:09:50Z"}});
    let recent = "2026-01-01T00:09:45Z";
    let looping = seen(status(waiting, 1, recent));
    assert_eq!(looping.phase, PodPhase::CrashLoop);
    assert!(looping.problem.as_ref().unwrap().contains("exit code 2"));
    assert!(!looping.crashing, "it does not run");
    // It may lead and be in sync: only the brokers can tell whether it can be spared.
    let between = seen(status(running.clone(), 4, recent));
    assert_eq!((between.phase, between.crashing), (PodPhase::Running, true));
    assert!(between.problem.unwrap().contains("ended 4 times"));
    let old = "2026-01-01T00:00:45Z";
    assert!(!seen(status(running.clone(), 4, old)).crashing, "it recovers");
    assert!(!seen(status(running, 1, recent)).crashing, "it ended once");
}

#[test]
fn readiness_has_its_time_and_a_revision_its_newest() {
    let ready = json!({"phase": "Running", "conditions": [{"type": "Ready", "status": "True",
        "lastTransitionTime": "2026-01-01T00:05:00Z"}]});
    let view = seen(ready.clone());
    assert!(view.ready && !view.outdated && !view.node_lost);
    assert_eq!(view.since_ms, at("2026-01-01T00:05:00Z"));
    let now = at("2026-01-01T00:10:00Z");
    assert!(super::view(&pod(ready.clone()), Some("newer"), FINE, now).outdated);
    assert!(!super::view(&pod(ready.clone()), None, FINE, now).outdated);
    let mut ending = pod(ready);
    ending.metadata.deletion_timestamp =
        Some(serde_json::from_value(json!("2026-01-01T00:08:00Z")).unwrap());
    let view = super::view(&ending, None, FINE, now);
    assert_eq!((view.phase, view.ready), (PodPhase::Terminating, false));
    assert!(!view.node_lost && view.problem.is_some(), "its node answers, and would end it");
    assert_eq!(view.since_ms, at("2026-01-01T00:08:00Z"), "it was not down before");
    let unseen = super::view(&ending, None, NodeState::Unknown, now);
    assert!(unseen.node_lost, "its grace period is long over");
}

#[test]
fn a_pod_is_as_old_news_as_the_silence_of_its_node() {
    let now = at("2026-01-01T00:10:00Z");
    let status = json!({"phase": "Running"});
    let since = |node| super::view(&pod(status.clone()), None, node, now).node_since_ms;
    let (created, later) = (at("2026-01-01T00:00:00Z"), at("2026-01-01T00:09:00Z"));
    assert_eq!(since(NodeState::Fine { since_ms: Some(later) }), later);
    assert_eq!(since(NodeState::Fine { since_ms: Some(created - 5_000) }), created);
    assert_eq!(since(FINE), created);
}

#[test]
fn only_canonical_ordinals_are_brokers() {
    assert_eq!(ordinal("c-broker-12", "c-broker-"), Some(BrokerId(12)));
    assert_eq!(ordinal("c-broker-0", "c-broker-"), Some(BrokerId(0)));
    for name in ["c-broker-", "c-broker-01", "c-broker--1", "c-broker-x", "d-broker-1"] {
        assert_eq!(ordinal(name, "c-broker-"), None, "{name}");
    }
}
