//! What goes on whatever else is held up, whose a cluster is, upgrades, and volumes.

use super::*;
use crate::fake_api;

const CONFIG: &str = "/api/v1/namespaces/ns/configmaps/c-config";

/// A cluster with an external listener whose pods run on nodes and whose Services have ports.
async fn reached_from_outside(api: &FakeApi) -> Arc<Operator> {
    let listeners = json!([{"name": "plain", "port": 9092},
        {"name": "ext", "port": 9095, "type": "NodePort"}]);
    cluster(api, json!({"brokers": {"replicas": 2}, "listeners": listeners}));
    let operator = operator(api);
    operator.pass("ns", "c").await.unwrap();
    for name in ["c-ext-0", "c-ext-1", "c-ext-bootstrap"] {
        let path = format!("/api/v1/namespaces/ns/services/{name}");
        let mut service = api.get(&path).unwrap();
        service["spec"]["ports"][0]["nodePort"] = json!(31_000);
        api.put(&path, service);
    }
    start_pods(api, 2, &running());
    on_nodes(api);
    operator.pass("ns", "c").await.unwrap();
    operator
}

fn on_nodes(api: &FakeApi) {
    for ordinal in 0..2 {
        let path = format!("{PODS}/c-broker-{ordinal}");
        let mut pod = api.get(&path).unwrap();
        pod["spec"]["nodeName"] = json!("n");
        pod["status"]["hostIP"] = json!(format!("10.0.0.{ordinal}"));
        api.put(&path, pod);
    }
}

fn told(api: &FakeApi, ordinal: usize) -> Value {
    let pod = api.get(&format!("{PODS}/c-broker-{ordinal}")).unwrap();
    pod["metadata"]["annotations"]["barnabas.dev/broker-properties"].clone()
}

fn edit(api: &FakeApi, change: impl FnOnce(&mut Value)) {
    let path = format!("{CLUSTERS}/c");
    let mut object = api.get(&path).unwrap();
    change(&mut object["spec"]);
    api.put(&path, object);
}

#[tokio::test]
async fn files_remember_addresses_for_pods_that_start_without_an_operator() {
    let api = FakeApi::default();
    let operator = reached_from_outside(&api).await;
    let file = |ordinal: usize| {
        let config = api.get(CONFIG).unwrap();
        config["data"][format!("c-broker-{ordinal}.properties")].as_str().unwrap().to_owned()
    };
    assert!(told(&api, 1).as_str().unwrap().contains("EXT://10.0.0.1:31000"));
    assert!(file(1).contains("EXT://10.0.0.1:31000"), "{}", file(1));
    api.remove(&format!("{PODS}/c-broker-1"));
    operator.pass("ns", "c").await.unwrap();
    assert!(file(1).contains("EXT://10.0.0.1:31000"), "it is not forgotten: {}", file(1));
}

/// A cluster that is paused or has a wrong config, or one object of which is refused, still tells
/// brokers where they are: their pods come and go whatever the operator does.
#[tokio::test]
async fn brokers_are_told_their_addresses_whatever_else_is_held_up() {
    let spoil: [fn(&mut Value); 2] = [
        |spec| spec["paused"] = json!(true),
        |spec| spec["config"] = json!({"min.insinc.replicas": 2}),
    ];
    for spoil in spoil {
        let api = FakeApi::default();
        let operator = reached_from_outside(&api).await;
        edit(&api, |spec| {
            spoil(spec);
            spec["brokers"]["replicas"] = json!(3);
            spec["listeners"][0]["port"] = json!(9999);
        });
        start_pods(&api, 2, &running());
        on_nodes(&api);
        let path = format!("{PODS}/c-broker-0");
        let mut pod = api.get(&path).unwrap();
        pod["status"]["hostIP"] = json!("10.0.0.7");
        api.put(&path, pod);
        operator.pass("ns", "c").await.unwrap();
        assert!(told(&api, 0).as_str().unwrap().contains("EXT://10.0.0.7:31000"));
        let config = api.get(CONFIG).unwrap();
        let file = config["data"]["c-broker-0.properties"].as_str().unwrap();
        assert!(file.contains("EXT://10.0.0.7:31000"), "{file}");
        assert!(file.contains("PLAIN://") && file.contains(":9092"), "not of the new spec: {file}");
        let set = api.get(&format!("{SETS}/c-broker")).unwrap();
        assert_eq!(set["spec"]["replicas"], 2);
        for _ in 0..2 {
            operator.pass("ns", "c").await.unwrap();
        }
        api.take_writes();
        operator.pass("ns", "c").await.unwrap();
        assert_eq!(api.take_writes(), Vec::<String>::new());
    }
}

#[tokio::test]
async fn addresses_do_not_wait_for_an_object_that_is_refused() {
    let api = FakeApi::default();
    let operator = reached_from_outside(&api).await;
    edit(&api, |spec| spec["brokers"]["replicas"] = json!(3));
    start_pods(&api, 2, &running());
    on_nodes(&api);
    api.refuse(&format!("{SETS}/c-broker"));
    operator.pass("ns", "c").await.unwrap_err();
    assert!(told(&api, 0).as_str().unwrap().contains("EXT://10.0.0.0:31000"));
}

const OWNER: &str = "barnabas.dev/operator";

fn owner(api: &FakeApi) -> Value {
    api.get(&format!("{CLUSTERS}/c")).unwrap()["metadata"]["annotations"][OWNER].clone()
}

/// Two operators over one cluster would undo each other's work for ever.
#[tokio::test]
async fn a_cluster_has_one_operator_and_a_second_leaves_it_alone() {
    let api = FakeApi::default();
    cluster(&api, json!({"brokers": {"replicas": 1}}));
    for namespace in ["a", "b"] {
        api.put(&format!("/api/v1/namespaces/{namespace}"), json!({"kind": "Namespace"}));
    }
    let first = operator_with(&api, &["--namespace", "a"]);
    let second = operator_with(&api, &["--namespace", "b"]);
    first.pass("ns", "c").await.unwrap();
    assert_eq!(
        (owner(&api), &status(&api)["operator"]),
        (json!("a/barnabas-operator"), &json!("a/barnabas-operator"))
    );
    let before = status(&api);
    api.take_writes();
    for _ in 0..3 {
        second.pass("ns", "c").await.unwrap();
    }
    let writes = api.take_writes();
    assert!(writes.len() == 1 && writes[0].contains("/events"), "told of once: {writes:?}");
    assert_eq!(status(&api), before);
    let seen: KafkaCluster =
        serde_json::from_value(api.get(&format!("{CLUSTERS}/c")).unwrap()).unwrap();
    let foreign = |operator: &Operator| {
        crate::entity::ClusterState::new(&seen, &operator.context.settings).foreign
    };
    assert_eq!((foreign(&first), foreign(&second)), (false, true), "nor its topics");
    // Handed over, it is the other's.
    let path = format!("{CLUSTERS}/c");
    let mut object = api.get(&path).unwrap();
    object["metadata"]["annotations"][OWNER] = json!("b/barnabas-operator");
    api.put(&path, object);
    second.pass("ns", "c").await.unwrap();
    assert_eq!(status(&api)["operator"], "b/barnabas-operator");
    api.take_writes();
    first.pass("ns", "c").await.unwrap();
    assert!(api.take_writes().iter().all(|write| write.contains("/events")));
}

#[tokio::test]
async fn a_class_says_whose_a_cluster_is_and_hands_it_over() {
    let api = FakeApi::default();
    cluster(&api, json!({"brokers": {"replicas": 1}}));
    let plain = operator_with(&api, &["--namespace", "a"]);
    let classed = operator_with(&api, &["--namespace", "b", "--operator-class", "team-b"]);
    classed.pass("ns", "c").await.unwrap();
    assert_eq!(api.take_writes(), Vec::<String>::new());
    plain.pass("ns", "c").await.unwrap();
    edit(&api, |spec| spec["operatorClass"] = json!("team-b"));
    plain.pass("ns", "c").await.unwrap();
    assert_eq!(owner(&api), Value::Null, "it lets go");
    classed.pass("ns", "c").await.unwrap();
    assert_eq!(owner(&api), "b/barnabas-operator");
}

/// A release that was removed and made anew under another name finds its clusters.
#[tokio::test]
async fn a_cluster_of_an_operator_that_is_gone_is_taken_over() {
    let api = FakeApi::default();
    cluster(&api, json!({"brokers": {"replicas": 1}}));
    operator_with(&api, &["--namespace", "a"]).pass("ns", "c").await.unwrap();
    let second = operator_with(&api, &["--namespace", "b"]);
    let lease = |renewed: &str| {
        api.put(
            "/apis/coordination.k8s.io/v1/namespaces/a/leases/barnabas-operator",
            json!({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
                "spec": {"renewTime": renewed}}),
        );
    };
    lease(&k8s_openapi::jiff::Timestamp::now().to_string());
    second.pass("ns", "c").await.unwrap();
    assert_eq!(owner(&api), "a/barnabas-operator");
    lease("2026-01-01T00:00:00.000000Z");
    second.pass("ns", "c").await.unwrap();
    assert_eq!(owner(&api), "b/barnabas-operator");
}

#[tokio::test]
async fn a_spec_that_cannot_be_read_is_told_of_instead_of_what_was_true_before() {
    let api = FakeApi::default();
    cluster(&api, json!({"brokers": {"replicas": 1}}));
    let operator = operator(&api);
    operator.pass("ns", "c").await.unwrap();
    edit(&api, |spec| {
        spec["brokers"]["replicas"] = json!(3);
        spec["ofTomorrow"] = json!(true);
    });
    let error = operator.pass("ns", "c").await.unwrap_err();
    operator.report_failure("ns", "c", &error).await;
    let status = status(&api);
    assert_eq!(status["phase"], "Invalid");
    for kind in ["Ready", "Valid"] {
        let condition = condition(&status, kind);
        assert_eq!(
            (&condition["status"], &condition["reason"]),
            (&json!("False"), &json!("Unreadable"))
        );
    }
    assert!(status["message"].as_str().unwrap().contains("ofTomorrow"), "{status}");
    assert_eq!(api.get(&format!("{SETS}/c-broker")).unwrap()["spec"]["replicas"], 1);
    api.take_writes();
    operator.report_failure("ns", "c", &error).await;
    assert_eq!(api.take_writes(), Vec::<String>::new());
}

fn image(api: &FakeApi, name: &str) -> Value {
    let set = api.get(&format!("{SETS}/{name}-broker")).unwrap();
    set["spec"]["template"]["spec"]["containers"][0]["image"].clone()
}

fn ready() -> Value {
    json!({"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}],
        "containerStatuses": running()["containerStatuses"]})
}

/// An operator that comes with another image moves no cluster whose user did not ask for that.
#[tokio::test]
async fn a_cluster_keeps_its_image_until_its_user_moves_it() {
    let api = FakeApi::default();
    cluster(&api, json!({"brokers": {"replicas": 1}}));
    operator(&api).pass("ns", "c").await.unwrap();
    start_pods(&api, 1, &ready());
    let settings = fake_api::settings(&["--broker-image", "barnabas/broker:2"]);
    let context = Arc::new(Context::new(api.client(), settings));
    let newer = Operator::new(context, Nodes::unknown());
    newer.pass("ns", "c").await.unwrap();
    assert_eq!(image(&api, "c"), "barnabas/broker:1");
    assert!(status(&api)["message"].as_str().unwrap().contains("barnabas/broker:2"));
    edit(&api, |spec| spec["upgradePolicy"] = json!("Auto"));
    newer.pass("ns", "c").await.unwrap();
    assert_eq!(image(&api, "c"), "barnabas/broker:2");
    // One that never ran is not kept when the user takes it back.
    edit(&api, |spec| {
        spec["upgradePolicy"] = json!("Manual");
        spec["image"] = json!("absent:1");
    });
    newer.pass("ns", "c").await.unwrap();
    assert_eq!(image(&api, "c"), "absent:1");
    edit(&api, |spec| spec["image"] = Value::Null);
    newer.pass("ns", "c").await.unwrap();
    assert_eq!(image(&api, "c"), "barnabas/broker:1", "what its ready pods run");
}

#[tokio::test]
async fn a_version_below_the_metadata_is_not_tried() {
    let api = FakeApi::default();
    cluster(&api, json!({"brokers": {"replicas": 1}, "version": "2.1.0"}));
    let operator = operator(&api);
    operator.pass("ns", "c").await.unwrap();
    start_pods(&api, 1, &ready());
    let path = format!("{CLUSTERS}/c");
    let mut object = api.get(&path).unwrap();
    object["status"]["metadataVersion"] = json!("2.0.0");
    object["spec"]["version"] = json!("1.9.0");
    api.put(&path, object);
    operator.pass("ns", "c").await.unwrap();
    assert_eq!(image(&api, "c"), "barnabas/broker:2.1.0");
    assert_eq!(condition(&status(&api), "Degraded")["reason"], "DowngradeRefused");
    edit(&api, |spec| spec["version"] = json!("2.0.0"));
    operator.pass("ns", "c").await.unwrap();
    assert_eq!(image(&api, "c"), "barnabas/broker:2.0.0");
}

/// What only a new operator changes in the pods comes to one cluster after the other.
#[tokio::test]
async fn clusters_are_rolled_one_after_the_other_for_a_new_operator() {
    let api = FakeApi::default();
    let operator = operator(&api);
    let names = ["a", "b"];
    let put = |name: &str, generation: i64, replicas: i64| {
        api.put(
            &format!("{CLUSTERS}/{name}"),
            json!({"apiVersion": "barnabas.dev/v1alpha1", "kind": "KafkaCluster",
                "metadata": {"generation": generation},
                "spec": {"brokers": {"replicas": replicas}}}),
        );
    };
    let old = |name: &str| {
        let path = format!("{SETS}/{name}-broker");
        let mut set = api.get(&path).unwrap();
        set["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] = json!(1);
        api.put(&path, set);
    };
    let is_new = |name: &str| {
        let set = api.get(&format!("{SETS}/{name}-broker")).unwrap();
        set["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] != 1
    };
    for name in names {
        put(name, 1, 1);
        operator.pass("ns", name).await.unwrap();
        old(name);
    }
    for name in names {
        operator.pass("ns", name).await.unwrap();
    }
    assert_eq!((is_new("a"), is_new("b")), (true, false));
    let b = api.get(&format!("{CLUSTERS}/b")).unwrap();
    let said = b["status"]["message"].as_str().unwrap();
    assert!(said.contains("after those of ns/a"), "{said}");
    // What its user changes does not wait.
    put("b", 2, 2);
    operator.pass("ns", "b").await.unwrap();
    assert!(is_new("b"));
    // And once the first is done, the next is free to begin.
    old("b");
    let mut set = api.get(&format!("{SETS}/a-broker")).unwrap();
    set["status"] = json!({"observedGeneration": 1, "updateRevision": "r1", "replicas": 0});
    api.put(&format!("{SETS}/a-broker"), set);
    operator.pass("ns", "b").await.unwrap();
    assert!(!is_new("b"));
    // An operator that has just started knows what the one before it has begun with.
    let operator = super::operator(&api);
    operator.pass("ns", "b").await.unwrap();
    assert!(!is_new("b"));
    let turn = || {
        let set = api.get(&format!("{SETS}/a-broker")).unwrap();
        set["metadata"]["annotations"]["barnabas.dev/operator-roll"].clone()
    };
    assert!(turn().is_string());
    operator.pass("ns", "a").await.unwrap();
    operator.pass("ns", "b").await.unwrap();
    assert!(is_new("b"));
    // Its mark is taken off.
    api.take_writes();
    operator.pass("ns", "a").await.unwrap();
    assert!(api.take_writes().contains(&format!("PATCH {SETS}/a-broker")));
}

fn properties(api: &FakeApi) -> String {
    api.get(CONFIG).unwrap()["data"]["server.properties"].as_str().unwrap().to_owned()
}

/// Its only voter comes back with an empty disk whenever it is restarted.
#[tokio::test]
async fn a_cluster_without_volumes_may_begin_anew() {
    let begins = async |spec: Value| {
        let api = FakeApi::default();
        cluster(&api, spec);
        let operator = operator(&api);
        operator.pass("ns", "c").await.unwrap();
        let path = format!("{CLUSTERS}/c");
        let mut object = api.get(&path).unwrap();
        object["status"]["clusterId"] = json!("Zaud-0OJTzeHgMGkccguPg");
        api.put(&path, object);
        operator.pass("ns", "c").await.unwrap();
        properties(&api).contains("barnabas.quorum.begin=true\n")
    };
    assert!(begins(json!({"brokers": {"replicas": 1}})).await);
    assert!(!begins(json!({"brokers": {"replicas": 1, "storage": {"size": "1Gi"}}})).await);
}

const CLAIMS: &str = "/api/v1/namespaces/ns/persistentvolumeclaims";

fn put_claim(api: &FakeApi, ordinal: usize, metadata: Value, size: &str, capacity: &str) {
    let mut metadata = metadata;
    let labels: serde_json::Map<_, _> =
        build::labels("c").into_iter().map(|(key, value)| (key, json!(value))).collect();
    metadata["labels"] = Value::Object(labels);
    api.put(
        &format!("{CLAIMS}/data-c-broker-{ordinal}"),
        json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": metadata,
            "spec": {"resources": {"requests": {"storage": size}}},
            "status": {"capacity": {"storage": capacity}}}),
    );
}

fn claim(api: &FakeApi, ordinal: usize) -> Value {
    api.get(&format!("{CLAIMS}/data-c-broker-{ordinal}")).unwrap()
}

#[tokio::test]
async fn a_size_that_volumes_did_not_get_can_be_taken_back() {
    let api = FakeApi::default();
    cluster(&api, json!({"brokers": {"replicas": 1, "storage": {"size": "100Ti"}}}));
    let operator = operator(&api);
    operator.pass("ns", "c").await.unwrap();
    start_pods(&api, 1, &ready());
    put_claim(&api, 0, json!({}), "100Ti", "10Gi");
    operator.pass("ns", "c").await.unwrap();
    let status = status(&api);
    assert_eq!(status["storageSize"], "10Gi");
    assert!(status["message"].as_str().unwrap().contains("data-c-broker-0 to 100Ti"), "{status}");
    edit(&api, |spec| spec["brokers"]["storage"]["size"] = json!("20Gi"));
    operator.pass("ns", "c").await.unwrap();
    assert_eq!(claim(&api, 0)["spec"]["resources"]["requests"]["storage"], "20Gi");
}

#[tokio::test]
async fn a_volume_that_was_kept_is_kept_whatever_the_policy_says_later() {
    let api = FakeApi::default();
    cluster(&api, json!({"brokers": {"replicas": 1, "storage": {"size": "1Gi"}}}));
    let operator = operator(&api);
    operator.pass("ns", "c").await.unwrap();
    start_pods(&api, 1, &ready());
    put_claim(&api, 1, json!({}), "1Gi", "1Gi");
    operator.pass("ns", "c").await.unwrap();
    edit(&api, |spec| {
        spec["brokers"]["storage"] = json!({"size": "2Gi", "deletionPolicy": "Delete"});
    });
    operator.pass("ns", "c").await.unwrap();
    let kept = claim(&api, 1);
    assert_eq!(kept["metadata"]["annotations"]["barnabas.dev/retained"], "true");
    assert!(kept["metadata"]["ownerReferences"].is_null(), "it does not go with the cluster");
    assert_eq!(kept["spec"]["resources"]["requests"]["storage"], "1Gi");
    assert_eq!(status(&api)["retainedVolumes"], json!(["data-c-broker-1"]));
}

#[tokio::test]
async fn a_new_cluster_waits_until_the_volumes_of_the_one_before_are_gone() {
    let earlier = json!([{"apiVersion": "barnabas.dev/v1alpha1", "kind": "KafkaCluster",
        "name": "c", "uid": "earlier"}]);
    let going = "2026-01-01T00:00:00Z";
    for metadata in [json!({"ownerReferences": earlier}), json!({"deletionTimestamp": going})] {
        let api = FakeApi::default();
        cluster(&api, json!({"brokers": {"replicas": 1, "storage": {"size": "1Gi"}}}));
        let mut metadata = metadata;
        metadata["annotations"] = json!({"barnabas.dev/cluster-id": "Zaud-0OJTzeHgMGkccguPg"});
        put_claim(&api, 0, metadata, "1Gi", "1Gi");
        let operator = operator(&api);
        let error = operator.pass("ns", "c").await.unwrap_err();
        assert!(error.to_string().contains("data-c-broker-0"), "{error}");
        assert_eq!(api.names(SETS), Vec::<String>::new());
        api.remove(&format!("{CLAIMS}/data-c-broker-0"));
        operator.pass("ns", "c").await.unwrap();
        assert_eq!(api.names(SETS), ["c-broker"]);
        assert!(!properties(&api).contains("Zaud"), "nor has it the earlier one's id");
    }
}

/// Somebody deletes a claim while the set is away to be made anew: its pods must not lose it.
#[tokio::test]
async fn a_set_comes_back_though_a_claim_of_its_pods_is_to_go() {
    let api = FakeApi::default();
    cluster(&api, json!({"brokers": {"replicas": 1, "storage": {"size": "1Gi"}}}));
    let operator = operator(&api);
    operator.pass("ns", "c").await.unwrap();
    start_pods(&api, 1, &ready());
    let path = format!("{CLUSTERS}/c");
    let mut object = api.get(&path).unwrap();
    object["status"]["clusterId"] = json!("Zaud-0OJTzeHgMGkccguPg");
    api.put(&path, object);
    put_claim(&api, 0, json!({"deletionTimestamp": "2026-01-01T00:00:00Z"}), "1Gi", "1Gi");
    api.remove(&format!("{SETS}/c-broker"));
    operator.pass("ns", "c").await.unwrap();
    assert_eq!(api.names(SETS), ["c-broker"]);
}
