//! Brokers whose node is lost.

use super::*;

const CLAIM: &str = "/api/v1/namespaces/ns/persistentvolumeclaims/data-c-broker-0";

/// A broker whose pod no node takes; its volume is of the node `gone`.
async fn stranded(api: &FakeApi, nodes: &[&str]) -> (Arc<Operator>, observe::Observation) {
    let storage = json!({"size": "1Gi"});
    cluster(
        api,
        json!({"brokers": {"replicas": 1, "storage": storage,
        "nodeLossTimeoutSeconds": 600}}),
    );
    let nodes = nodes.iter().map(|name| {
        let labels = json!({"kubernetes.io/hostname": name});
        serde_json::from_value(json!({"metadata": {"name": name, "labels": labels}})).unwrap()
    });
    let operator = Arc::new(Operator::new(api.context(&[]), Nodes::of(nodes.collect())));
    operator.pass("ns", "c").await.unwrap();
    start_pods(
        api,
        1,
        &json!({"phase": "Pending", "conditions": [{"type": "PodScheduled",
        "status": "False", "reason": "Unschedulable", "message": "no node"}]}),
    );
    let labels: serde_json::Map<_, _> =
        build::labels("c").into_iter().map(|(key, value)| (key, json!(value))).collect();
    api.put(
        CLAIM,
        json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim",
        "metadata": {"labels": labels}, "spec": {"volumeName": "pv-0"}}),
    );
    let here = json!({"key": "kubernetes.io/hostname", "operator": "In", "values": ["gone"]});
    let terms = json!({"nodeSelectorTerms": [{"matchExpressions": [here]}]});
    api.put(
        "/api/v1/persistentvolumes/pv-0",
        json!({"apiVersion": "v1",
        "kind": "PersistentVolume", "spec": {"nodeAffinity": {"required": terms}}}),
    );
    let object = operator.cluster("ns", "c").await.unwrap().unwrap();
    let look = operator.look(object).await.unwrap();
    (operator, look)
}

#[tokio::test]
async fn a_volume_whose_node_is_gone_is_seen_and_replaced_with_the_pod() {
    let api = FakeApi::default();
    let (_, look) = stranded(&api, &["other", "gone"]).await;
    assert!(!look.seen.claims[&base::BrokerId(0)].stranded);
    let api = FakeApi::default();
    let (operator, mut look) = stranded(&api, &["other"]).await;
    assert!(look.seen.claims[&base::BrokerId(0)].stranded);
    assert_eq!(look.seen.desired.node_loss_ms, Some(600_000));
    assert_eq!(look.seen.desired.voter_lost_ms, 600_000, "its vote follows");
    look.plan.step = plan::Step::Replace { broker: base::BrokerId(0), volume: true };
    api.take_writes();
    operator.act(&look).await.unwrap();
    let deleted = api.take_writes().into_iter().filter(|write| write.starts_with("DELETE"));
    let pod = format!("DELETE {PODS}/c-broker-0");
    assert_eq!(deleted.collect::<Vec<_>>(), [format!("DELETE {CLAIM}"), pod]);
}
