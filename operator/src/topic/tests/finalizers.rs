//! The end of an operator in a namespace that goes.

use serde_json::json;

use super::*;
use crate::entity::release_finalizers;
use crate::fake_api::FakeApi;

const TOPIC: &str = "/apis/barnabas.dev/v1alpha1/namespaces/ns/topics/t";

async fn finalizers_after(namespace: serde_json::Value, watched: &str) -> serde_json::Value {
    let api = FakeApi::default();
    api.put("/api/v1/namespaces/ns", json!({"metadata": namespace}));
    api.put(
        TOPIC,
        json!({"metadata": {"finalizers": ["other", Topics::FINALIZER]}, "spec": {
        "clusterRef": {"name": "c"}, "partitions": 1, "replicationFactor": 1}}),
    );
    let flags = ["--namespace", "ns", "--watch-namespaces", watched];
    release_finalizers::<Topics>(&api.context(&flags)).await.unwrap();
    api.get(TOPIC).unwrap()["metadata"]["finalizers"].clone()
}

#[tokio::test]
async fn topics_are_let_go_with_the_operator_s_own_namespace_only() {
    let going = json!({"deletionTimestamp": "2026-01-01T00:00:00Z"});
    let held = json!(["other", Topics::FINALIZER]);
    assert_eq!(finalizers_after(going.clone(), "ns").await, json!(["other"]));
    assert_eq!(finalizers_after(going, "elsewhere").await, held);
    assert_eq!(finalizers_after(json!({}), "ns").await, held);
}
