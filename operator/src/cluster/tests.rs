//! Passes against a small API server and brokers that do not answer.

#![allow(clippy::unwrap_used)]

use serde_json::{Value, json};

use super::*;
use crate::fake_api::FakeApi;

mod care;
mod large;
mod lost;

const CLUSTERS: &str = "/apis/barnabas.dev/v1alpha1/namespaces/ns/kafkaclusters";
const SETS: &str = "/apis/apps/v1/namespaces/ns/statefulsets";
const SECRET: &str = "/api/v1/namespaces/ns/secrets/c-internal";
const PODS: &str = "/api/v1/namespaces/ns/pods";

fn operator(api: &FakeApi) -> Arc<Operator> {
    operator_with(api, &[])
}

fn operator_with(api: &FakeApi, flags: &[&str]) -> Arc<Operator> {
    Arc::new(Operator::new(api.context(flags), Nodes::unknown()))
}

fn cluster(api: &FakeApi, spec: Value) {
    api.put(
        &format!("{CLUSTERS}/c"),
        json!({"apiVersion": "barnabas.dev/v1alpha1", "kind": "KafkaCluster", "spec": spec}),
    );
}

fn status(api: &FakeApi) -> Value {
    api.get(&format!("{CLUSTERS}/c")).unwrap()["status"].clone()
}

fn condition<'a>(status: &'a Value, kind: &str) -> &'a Value {
    let all = status["conditions"].as_array().unwrap();
    all.iter().find(|c| c["type"] == kind).unwrap()
}

/// What the StatefulSet controller would do.
fn start_pods(api: &FakeApi, count: usize, pod_status: &Value) {
    let mut set = api.get(&format!("{SETS}/c-broker")).unwrap();
    let labels = set["spec"]["template"]["metadata"]["labels"].clone();
    set["status"] = json!({"observedGeneration": 1, "updateRevision": "r1", "replicas": count});
    api.put(&format!("{SETS}/c-broker"), set.clone());
    for ordinal in 0..count {
        let mut labels = labels.clone();
        labels["controller-revision-hash"] = json!("r1");
        let owner = json!([{"apiVersion": "apps/v1", "kind": "StatefulSet", "name": "c-broker",
            "uid": set["metadata"]["uid"], "controller": true}]);
        let pod = json!({"apiVersion": "v1", "kind": "Pod",
            "metadata": {"labels": labels, "ownerReferences": owner},
            "spec": set["spec"]["template"]["spec"], "status": pod_status});
        api.put(&format!("{PODS}/c-broker-{ordinal}"), pod);
    }
}

#[tokio::test]
async fn a_new_cluster_gets_its_objects_and_a_second_pass_writes_nothing() {
    let api = FakeApi::default();
    cluster(&api, json!({"brokers": {"replicas": 3, "storage": {"size": "1024Mi"}}}));
    let operator = operator(&api);
    operator.pass("ns", "c").await.unwrap();
    let set = api.get(&format!("{SETS}/c-broker")).unwrap();
    assert_eq!(set["spec"]["replicas"], 3);
    assert_eq!(set["metadata"]["ownerReferences"][0]["kind"], "KafkaCluster");
    let services = api.names("/api/v1/namespaces/ns/services");
    assert_eq!(services, ["c-bootstrap", "c-brokers"]);
    assert_eq!(status(&api)["phase"], "Creating");

    start_pods(&api, 3, &json!({"phase": "Pending"}));
    for _ in 0..3 {
        operator.pass("ns", "c").await.unwrap();
    }
    api.take_writes();
    operator.pass("ns", "c").await.unwrap();
    assert_eq!(api.take_writes(), Vec::<String>::new());
    assert_eq!(status(&api)["replicas"], 3);
}

fn template_args(api: &FakeApi) -> String {
    let set = api.get(&format!("{SETS}/c-broker")).unwrap();
    set["spec"]["template"]["spec"]["containers"][0]["args"].to_string()
}

#[tokio::test]
async fn the_brokers_secret_is_made_before_them_and_never_again_while_one_of_them_has_it() {
    let api = FakeApi::default();
    cluster(&api, json!({"brokers": {"replicas": 1}}));
    let operator = operator(&api);
    operator.pass("ns", "c").await.unwrap();
    let writes = api.take_writes();
    let at = |write: &str| writes.iter().position(|w| w == write).unwrap();
    let made = at("POST /api/v1/namespaces/ns/secrets");
    assert!(made < at(&format!("PATCH {SETS}/c-broker")), "{writes:?}");
    let secret = api.get(SECRET).unwrap();
    assert!(secret["data"]["secret"].as_str().unwrap().len() > 64, "{secret}");
    assert_eq!(secret["metadata"]["ownerReferences"][0]["kind"], "KafkaCluster");
    assert!(!template_args(&api).contains("required=false"), "{}", template_args(&api));

    // Pods that have not started may still need it, and find the one that is there.
    start_pods(&api, 1, &json!({"phase": "Pending"}));
    operator.pass("ns", "c").await.unwrap();
    assert_eq!(api.get(SECRET).unwrap(), secret);
    api.remove(SECRET);
    operator.pass("ns", "c").await.unwrap();
    assert_ne!(api.get(SECRET).unwrap()["data"], secret["data"], "nobody has read the first one");

    // From then on a new one would be another one.
    start_pods(&api, 1, &running());
    api.remove(SECRET);
    operator.pass("ns", "c").await.unwrap();
    assert_eq!(api.get(SECRET), None);
    let asked = api.take_requests();
    assert!(!asked.iter().any(|r| r.starts_with("GET") && r.contains("/secrets")), "{asked:?}");
}

/// Brokers of the version before do not know the secret: all get it first, then it is demanded.
#[tokio::test]
async fn a_cluster_without_a_secret_gets_it_by_two_rolls() {
    let api = FakeApi::default();
    cluster(&api, json!({"brokers": {"replicas": 3}}));
    let operator = operator(&api);
    operator.pass("ns", "c").await.unwrap();
    api.remove(SECRET);
    let path = format!("{SETS}/c-broker");
    let mut before = api.get(&path).unwrap();
    without_secret(&mut before["spec"]["template"]["spec"]);
    api.put(&path, before);
    start_pods(&api, 3, &running());

    operator.pass("ns", "c").await.unwrap();
    let secret = api.get(SECRET).unwrap();
    let given = template_args(&api);
    assert!(given.contains("secret.file=") && given.contains("required=false"), "{given}");
    // Two of three are rolled.
    start_pods(&api, 3, &running());
    let old = format!("{PODS}/c-broker-1");
    let mut pod = api.get(&old).unwrap();
    without_secret(&mut pod["spec"]);
    api.put(&old, pod);
    operator.pass("ns", "c").await.unwrap();
    assert_eq!(template_args(&api), given);
    // All are.
    start_pods(&api, 3, &running());
    operator.pass("ns", "c").await.unwrap();
    let required = template_args(&api);
    assert!(required.contains("secret.file=") && !required.contains("required"), "{required}");
    start_pods(&api, 3, &running());
    operator.pass("ns", "c").await.unwrap();
    assert_eq!(template_args(&api), required);
    assert_eq!(api.get(SECRET).unwrap(), secret);
}

fn running() -> Value {
    json!({"phase": "Running", "containerStatuses": [{"name": "broker", "ready": false,
        "restartCount": 0, "image": "i", "imageID": "i",
        "state": {"running": {"startedAt": "2026-01-01T00:00:00Z"}}}]})
}

fn without_secret(pod: &mut Value) {
    pod["volumes"].as_array_mut().unwrap().retain(|volume| volume["secret"].is_null());
    let args = pod["containers"][0]["args"].as_array_mut().unwrap();
    args.truncate(args.iter().position(|arg| arg == "--override").unwrap());
}

/// An API server that died with the connection open.
#[tokio::test]
async fn a_pass_whose_requests_are_not_answered_ends() {
    for path in
        [format!("{CLUSTERS}/c"), format!("{SETS}/c-broker"), SECRET.replace("/c-internal", "")]
    {
        let api = FakeApi::default();
        cluster(&api, json!({"brokers": {"replicas": 1}}));
        api.hang(&path);
        let passing = operator(&api);
        let passing = tokio::time::timeout(Duration::from_secs(60), passing.pass("ns", "c"));
        let error = passing.await.expect(&path).unwrap_err();
        assert_eq!(error.category(), Category::Timeout, "{path}: {error}");
    }
}

#[test]
fn what_is_waited_for_for_long_is_looked_at_less_often() {
    let waited = |seconds: i64| {
        let now = k8s_openapi::jiff::Timestamp::now();
        let since = crd::Time(
            k8s_openapi::jiff::Timestamp::from_second(now.as_second() - seconds).unwrap(),
        );
        let step = crd::StepStatus { name: "Waiting".into(), since: Some(since), detail: None };
        let status = crd::KafkaClusterStatus { step: Some(step), ..Default::default() };
        pass::patience(&status, now).as_secs()
    };
    assert_eq!((waited(0), waited(200), waited(100_000)), (0, 10, 30));
}

#[tokio::test]
async fn a_pod_that_no_node_takes_is_in_the_status_with_the_scheduler_s_words() {
    let api = FakeApi::default();
    cluster(&api, json!({"brokers": {"replicas": 1}}));
    let operator = operator(&api);
    operator.pass("ns", "c").await.unwrap();
    start_pods(
        &api,
        1,
        &json!({"phase": "Pending", "conditions": [{"type": "PodScheduled",
        "status": "False", "reason": "Unschedulable", "message": "Insufficient cpu"}]}),
    );
    operator.pass("ns", "c").await.unwrap();
    let status = status(&api);
    assert_eq!(status["brokers"][0]["state"], "Stuck");
    assert!(status["message"].as_str().unwrap().contains("Insufficient cpu"), "{status}");
    assert_eq!(condition(&status, "Ready")["status"], "False");
}

#[tokio::test]
async fn what_somebody_changed_is_put_back_and_what_is_no_longer_wanted_goes() {
    let api = FakeApi::default();
    let listeners = json!([{"name": "plain", "port": 9092},
        {"name": "ext", "port": 9095, "type": "NodePort"}]);
    cluster(&api, json!({"brokers": {"replicas": 1}, "listeners": listeners}));
    let operator = operator(&api);
    operator.pass("ns", "c").await.unwrap();
    let services = "/api/v1/namespaces/ns/services";
    assert_eq!(api.names(services), ["c-bootstrap", "c-brokers", "c-ext-0", "c-ext-bootstrap"]);
    let path = format!("{services}/c-brokers");
    let mut service = api.get(&path).unwrap();
    service["spec"]["publishNotReadyAddresses"] = json!(false);
    api.put(&path, service);
    operator.pass("ns", "c").await.unwrap();
    assert_eq!(api.get(&path).unwrap()["spec"]["publishNotReadyAddresses"], true);

    let mut object = api.get(&format!("{CLUSTERS}/c")).unwrap();
    object["spec"]["listeners"] = json!([{"name": "plain", "port": 9092}]);
    api.put(&format!("{CLUSTERS}/c"), object);
    operator.pass("ns", "c").await.unwrap();
    assert_eq!(api.names(services), ["c-bootstrap", "c-brokers"]);
}

/// As Kyverno does with a rule for Pods, which it extends to StatefulSets: to a field that can be
/// written again, and to one for which the set would have to be made anew.
#[tokio::test]
async fn what_a_policy_changes_is_written_once_and_told_of() {
    let template = json!({"template": {"spec": {"terminationGracePeriodSeconds": 7}}});
    for change in [template, json!({"podManagementPolicy": "OrderedReady"})] {
        let api = FakeApi::default();
        cluster(&api, json!({"brokers": {"replicas": 1}}));
        let path = format!("{SETS}/c-broker");
        api.mutate(&path, json!({"spec": change}));
        let operator = operator(&api);
        operator.pass("ns", "c").await.unwrap();
        start_pods(&api, 1, &json!({"phase": "Pending"}));
        for _ in 0..3 {
            operator.pass("ns", "c").await.unwrap();
        }
        api.take_writes();
        operator.pass("ns", "c").await.unwrap();
        assert_eq!(api.take_writes(), Vec::<String>::new(), "{change}");
        let message = status(&api)["message"].to_string();
        assert!(message.contains("StatefulSet c-broker"), "{message}");
        // Somebody changes it, which is another thing.
        let mut set = api.get(&path).unwrap();
        set["metadata"]["generation"] = json!(2);
        set["status"]["observedGeneration"] = json!(2);
        api.put(&path, set);
        operator.pass("ns", "c").await.unwrap();
        assert!(api.take_writes().iter().any(|write| write.ends_with(&path)), "{change}");
    }
}

#[tokio::test]
async fn an_invalid_config_is_named_and_the_objects_stay_as_they_are() {
    let api = FakeApi::default();
    cluster(&api, json!({"brokers": {"replicas": 1}}));
    let operator = operator(&api);
    operator.pass("ns", "c").await.unwrap();
    let mut object = api.get(&format!("{CLUSTERS}/c")).unwrap();
    object["spec"]["brokers"]["replicas"] = json!(3);
    object["spec"]["config"] = json!({"min.insinc.replicas": 2});
    api.put(&format!("{CLUSTERS}/c"), object);
    operator.pass("ns", "c").await.unwrap();
    let status = status(&api);
    assert_eq!(status["phase"], "Invalid");
    let valid = condition(&status, "Valid");
    assert_eq!((&valid["status"], &valid["reason"]), (&json!("False"), &json!("InvalidConfig")));
    assert!(valid["message"].as_str().unwrap().contains("min.insinc.replicas"), "{valid}");
    assert_eq!(api.get(&format!("{SETS}/c-broker")).unwrap()["spec"]["replicas"], 1);
}

#[tokio::test]
async fn an_object_of_somebody_else_is_not_taken_over() {
    let api = FakeApi::default();
    cluster(&api, json!({"brokers": {"replicas": 1}}));
    let path = "/api/v1/namespaces/ns/configmaps/c-config";
    api.put(path, json!({"apiVersion": "v1", "kind": "ConfigMap", "data": {"mine": "1"}}));
    let operator = operator(&api);
    let error = operator.pass("ns", "c").await.unwrap_err();
    operator.report_failure("ns", "c", &error).await;
    assert_eq!(api.get(path).unwrap()["data"], json!({"mine": "1"}));
    let status = status(&api);
    assert_eq!(condition(&status, "Degraded")["reason"], "NameTaken");
    assert!(status["message"].as_str().unwrap().contains("c-config"), "{status}");
}

#[tokio::test]
async fn a_paused_or_dying_cluster_is_left_alone() {
    let api = FakeApi::default();
    cluster(&api, json!({"brokers": {"replicas": 1}, "paused": true}));
    let operator = operator(&api);
    operator.pass("ns", "c").await.unwrap();
    assert_eq!(api.names(SETS), Vec::<String>::new());
    assert_eq!(status(&api)["phase"], "Paused");
    let mut object = api.get(&format!("{CLUSTERS}/c")).unwrap();
    object["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
    object["spec"]["paused"] = json!(false);
    api.put(&format!("{CLUSTERS}/c"), object);
    operator.pass("ns", "c").await.unwrap();
    assert_eq!(api.names(SETS), Vec::<String>::new());
}

#[tokio::test]
async fn a_cluster_whose_namespace_goes_is_left_alone_and_says_so() {
    let api = FakeApi::default();
    cluster(&api, json!({"brokers": {"replicas": 1}}));
    let operator = operator(&api);
    api.put(
        "/api/v1/namespaces/ns",
        json!({"apiVersion": "v1", "kind": "Namespace",
            "metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}}),
    );
    operator.pass("ns", "c").await.unwrap();
    assert_eq!(api.names(SETS), Vec::<String>::new());
    let status = status(&api);
    assert_eq!(status["phase"], "Deleting");
    assert_eq!(condition(&status, "Ready")["reason"], "NamespaceDeleted");
    api.take_writes();
    operator.pass("ns", "c").await.unwrap();
    assert_eq!(api.take_writes(), Vec::<String>::new());
}

#[tokio::test]
async fn a_volume_grows_and_the_set_is_made_anew_around_as_many_pods() {
    let api = FakeApi::default();
    cluster(&api, json!({"brokers": {"replicas": 3, "storage": {"size": "1Gi"}}}));
    let operator = operator(&api);
    operator.pass("ns", "c").await.unwrap();
    start_pods(&api, 3, &json!({"phase": "Running"}));
    let claim = "/api/v1/namespaces/ns/persistentvolumeclaims/data-c-broker-0";
    let set = api.get(&format!("{SETS}/c-broker")).unwrap();
    let template = &set["spec"]["volumeClaimTemplates"][0];
    api.put(
        claim,
        json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim",
        "metadata": {"labels": template["metadata"]["labels"]}, "spec": template["spec"]}),
    );
    let mut object = api.get(&format!("{CLUSTERS}/c")).unwrap();
    object["spec"]["brokers"]["storage"]["size"] = json!("2Gi");
    object["spec"]["brokers"]["replicas"] = json!(1);
    api.put(&format!("{CLUSTERS}/c"), object);
    operator.pass("ns", "c").await.unwrap();
    assert_eq!(api.get(claim).unwrap()["spec"]["resources"]["requests"]["storage"], "2Gi");
    assert_eq!(api.names(SETS), Vec::<String>::new(), "deleted, its pods left alone");
    operator.pass("ns", "c").await.unwrap();
    let set = api.get(&format!("{SETS}/c-broker")).unwrap();
    let size = &set["spec"]["volumeClaimTemplates"][0]["spec"]["resources"]["requests"]["storage"];
    assert_eq!((size, &set["spec"]["replicas"]), (&json!("2Gi"), &json!(3)), "none is drained yet");
}

#[tokio::test]
async fn a_volume_whose_class_does_not_let_it_grow_is_named_and_nothing_else_is_held_up() {
    let api = FakeApi::default();
    cluster(&api, json!({"brokers": {"replicas": 1, "storage": {"size": "1Gi"}}}));
    let operator = operator(&api);
    operator.pass("ns", "c").await.unwrap();
    start_pods(&api, 1, &json!({"phase": "Running"}));
    api.put(
        "/apis/storage.k8s.io/v1/storageclasses/fixed",
        json!({"kind": "StorageClass",
        "apiVersion": "storage.k8s.io/v1", "provisioner": "p"}),
    );
    let set = api.get(&format!("{SETS}/c-broker")).unwrap();
    let template = &set["spec"]["volumeClaimTemplates"][0];
    let mut spec = template["spec"].clone();
    spec["storageClassName"] = json!("fixed");
    let claim = "/api/v1/namespaces/ns/persistentvolumeclaims/data-c-broker-0";
    api.put(
        claim,
        json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim",
        "metadata": {"labels": template["metadata"]["labels"]}, "spec": spec}),
    );
    let mut object = api.get(&format!("{CLUSTERS}/c")).unwrap();
    object["spec"]["brokers"]["storage"]["size"] = json!("2Gi");
    object["spec"]["image"] = json!("barnabas/broker:2");
    api.put(&format!("{CLUSTERS}/c"), object);
    operator.pass("ns", "c").await.unwrap();
    let set = api.get(&format!("{SETS}/c-broker")).unwrap();
    let spec = &set["spec"];
    assert_eq!(spec["template"]["spec"]["containers"][0]["image"], "barnabas/broker:2");
    let size = &spec["volumeClaimTemplates"][0]["spec"]["resources"]["requests"]["storage"];
    assert_eq!(size, "1Gi");
    assert!(status(&api)["message"].as_str().unwrap().contains("allowVolumeExpansion"));
    operator.pass("ns", "c").await.unwrap();
    api.take_writes();
    operator.pass("ns", "c").await.unwrap();
    assert_eq!(api.take_writes(), Vec::<String>::new(), "it is not tried again and again");
}

#[tokio::test]
async fn volumes_that_outlived_their_cluster_give_it_its_id_again() {
    let api = FakeApi::default();
    cluster(&api, json!({"brokers": {"replicas": 1, "storage": {"size": "1Gi"}}}));
    let labels = build::labels("c");
    api.put(
        "/api/v1/namespaces/ns/persistentvolumeclaims/data-c-broker-0",
        json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "spec": {},
            "metadata": {"labels": labels, "creationTimestamp": "2025-01-01T00:00:00Z",
                "annotations": {"barnabas.dev/cluster-id": "Zaud-0OJTzeHgMGkccguPg"}}}),
    );
    operator(&api).pass("ns", "c").await.unwrap();
    let files = api.get("/api/v1/namespaces/ns/configmaps/c-config").unwrap()["data"].clone();
    let text = files["server.properties"].as_str().unwrap();
    assert!(text.contains("barnabas.cluster.id=Zaud-0OJTzeHgMGkccguPg\n"), "{text}");
    assert!(text.contains("barnabas.quorum.begin=false\n"), "{text}");
    let object = api.get(&format!("{CLUSTERS}/c")).unwrap();
    let noted = &object["metadata"]["annotations"]["barnabas.dev/cluster-id"];
    assert!(noted.is_null(), "the user's object stays theirs");
}

#[tokio::test]
async fn a_broker_keeps_the_rack_it_was_told_while_its_node_cannot_be_seen() {
    let api = FakeApi::default();
    cluster(&api, json!({"brokers": {"replicas": 1}, "rack": {}}));
    let operator = operator(&api);
    operator.pass("ns", "c").await.unwrap();
    start_pods(&api, 1, &json!({"phase": "Running"}));
    let path = format!("{PODS}/c-broker-0");
    let mut pod = api.get(&path).unwrap();
    pod["spec"]["nodeName"] = json!("n1");
    pod["metadata"]["annotations"] = json!({"barnabas.dev/broker-properties": "broker.rack=a\n"});
    api.put(&path, pod);
    operator.pass("ns", "c").await.unwrap();
    let pod = api.get(&path).unwrap();
    let told = &pod["metadata"]["annotations"]["barnabas.dev/broker-properties"];
    assert_eq!(told, "broker.rack=a\n");
    assert_eq!(condition(&status(&api), "Degraded")["reason"], "NodesNotReadable");
}

/// An image that cannot be pulled.
fn stuck() -> Value {
    json!({"phase": "Pending", "containerStatuses": [{"name": "broker", "image": "i",
        "imageID": "", "ready": false, "restartCount": 0,
        "state": {"waiting": {"reason": "ErrImagePull"}}}]})
}

#[tokio::test]
async fn the_last_look_is_right_before_the_step() {
    let api = FakeApi::default();
    cluster(&api, json!({"brokers": {"replicas": 1}}));
    let operator = operator(&api);
    operator.pass("ns", "c").await.unwrap();
    start_pods(&api, 1, &stuck());
    let path = format!("{PODS}/c-broker-0");
    let mut pod = api.get(&path).unwrap();
    pod["metadata"]["labels"]["controller-revision-hash"] = json!("r0");
    api.put(&path, pod);
    // There is something to apply in the same pass.
    let service = "/api/v1/namespaces/ns/services/c-brokers";
    let mut changed = api.get(service).unwrap();
    changed["spec"]["publishNotReadyAddresses"] = json!(false);
    api.put(service, changed);
    api.take_requests();
    operator.pass("ns", "c").await.unwrap();
    let requests = api.take_requests();
    let at = |wanted: &str| requests.iter().rposition(|request| request == wanted);
    let applied = at(&format!("PATCH {service}")).unwrap();
    let (looked, deleted) = (at(&format!("GET {PODS}")), at(&format!("DELETE {path}")));
    assert!(Some(applied) < looked && looked < deleted, "{requests:#?}");
    let between = &requests[looked.unwrap()..deleted.unwrap()];
    assert!(between.iter().all(|request| request.starts_with("GET ")), "{between:#?}");
}

#[tokio::test]
async fn a_broker_is_removed_by_the_step_and_not_by_what_comes_before_it() {
    let api = FakeApi::default();
    cluster(&api, json!({"brokers": {"replicas": 3}}));
    let operator = operator(&api);
    operator.pass("ns", "c").await.unwrap();
    start_pods(&api, 3, &json!({"phase": "Running"}));
    let object = operator.cluster("ns", "c").await.unwrap().unwrap();
    let mut look = operator.look(object).await.unwrap();
    look.plan.step = plan::Step::Shrink { broker: base::BrokerId(2) };
    look.plan.sizes.values_mut().for_each(|size| *size = 2);
    let size = || api.get(&format!("{SETS}/c-broker")).unwrap()["spec"]["replicas"].clone();
    operator.apply(&look).await.unwrap();
    assert_eq!(size(), 3);
    assert!(operator.act(&look).await.unwrap());
    assert_eq!(size(), 2);
}

#[tokio::test]
async fn a_listener_s_service_that_is_refused_is_named_and_holds_nothing_up() {
    let api = FakeApi::default();
    let listeners = json!([{"name": "plain", "port": 9092},
        {"name": "ext", "port": 9095, "type": "NodePort", "brokerNodePorts": {"0": 31000}}]);
    cluster(&api, json!({"brokers": {"replicas": 2}, "listeners": listeners}));
    api.refuse("/api/v1/namespaces/ns/services/c-ext-0");
    let operator = operator(&api);
    operator.pass("ns", "c").await.unwrap();
    let services = api.names("/api/v1/namespaces/ns/services");
    assert_eq!(services, ["c-bootstrap", "c-brokers", "c-ext-1", "c-ext-bootstrap"]);
    assert_eq!(api.get(&format!("{SETS}/c-broker")).unwrap()["spec"]["replicas"], 2);
    let status = status(&api);
    let degraded = condition(&status, "Degraded");
    assert_eq!(degraded["reason"], "ServiceRefused");
    let text = "Kubernetes refuses apply Service c-ext-0: it is not valid";
    assert!(status["message"].as_str().unwrap().contains(text), "{status}");
}

#[tokio::test]
async fn since_when_a_broker_has_no_pod_outlives_the_operator() {
    let api = FakeApi::default();
    cluster(&api, json!({"brokers": {"replicas": 1}}));
    operator(&api).pass("ns", "c").await.unwrap();
    operator(&api).pass("ns", "c").await.unwrap();
    let first = status(&api)["brokers"][0].clone();
    assert_eq!(first["state"], "Missing");
    let mut object = api.get(&format!("{CLUSTERS}/c")).unwrap();
    object["status"]["brokers"][0]["since"] = json!("2026-01-01T00:00:00Z");
    api.put(&format!("{CLUSTERS}/c"), object);
    operator(&api).pass("ns", "c").await.unwrap();
    let status = status(&api);
    assert_eq!(status["brokers"][0]["since"], "2026-01-01T00:00:00Z");
    assert_eq!(condition(&status, "Degraded")["status"], "True");
    assert!(status["message"].as_str().unwrap().contains("does not make it"), "{status}");
}

#[tokio::test]
async fn the_version_is_the_broker_s_and_not_that_of_what_runs_beside_it() {
    let api = FakeApi::default();
    cluster(&api, json!({"brokers": {"replicas": 1}}));
    let operator = operator(&api);
    operator.pass("ns", "c").await.unwrap();
    start_pods(&api, 1, &json!({"phase": "Running"}));
    let path = format!("{PODS}/c-broker-0");
    let mut pod = api.get(&path).unwrap();
    let containers = pod["spec"]["containers"].as_array_mut().unwrap();
    containers.insert(0, json!({"name": "proxy", "image": "mesh/proxy:9"}));
    api.put(&path, pod);
    operator.pass("ns", "c").await.unwrap();
    assert_eq!(status(&api)["version"], "1");
}

#[tokio::test]
async fn a_listener_without_an_address_is_told_of_once_the_brokers_are_ready() {
    let api = FakeApi::default();
    let listeners = json!([{"name": "plain", "port": 9092},
        {"name": "cloud", "port": 9095, "type": "LoadBalancer"}]);
    cluster(&api, json!({"brokers": {"replicas": 1}, "listeners": listeners}));
    let operator = operator(&api);
    operator.pass("ns", "c").await.unwrap();
    start_pods(&api, 1, &json!({"phase": "Running"}));
    let object = operator.cluster("ns", "c").await.unwrap().unwrap();
    let mut look = operator.look(object).await.unwrap();
    (look.plan.phase, look.plan.degraded) = (plan::Phase::Ready, None);
    let problems: Vec<_> = status::unaddressed(&look).into_iter().collect();
    let now = crd::Time(k8s_openapi::jiff::Timestamp::now());
    let new = serde_json::to_value(status::of_pass(&look, &problems, &now)).unwrap();
    assert_eq!(new["phase"], "Ready");
    assert_eq!(condition(&new, "Ready")["reason"], "AddressUnknown");
    let text = "listener cloud has no address for brokers 0: no load balancer";
    assert!(new["message"].as_str().unwrap().contains(text), "{new}");
    look.plan.phase = plan::Phase::Creating;
    assert_eq!(status::unaddressed(&look), None, "they come with the brokers");
}
