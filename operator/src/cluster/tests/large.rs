//! What a cluster of 100 brokers with 10,000 topics and 100,000 replicas costs the operator:
//! `cargo test -p operator --lib large -- --ignored --nocapture`.

use std::time::Instant;

use base::BrokerId;
use plan::{
    BrokerRisk, BrokerSettings, BrokerView, ClusterView, Desired, Fleet, Missing, Observed,
    PartitionView, PodPhase, PodView, QuorumView, SetView, VoterView,
};
use wire::AnyRequest;

use super::*;
use crate::kafka::tests::{Answer, broker, say};

const BROKERS: i32 = 100;
const TOPICS: i32 = 10_000;
const REPLICAS: i32 = 100_000;
/// How late the runtime may be with what renews the Lease; it has ten seconds.
const LATE_MAX: Duration = Duration::from_millis(500);

/// Partitions of three replicas, each in three racks, on all brokers but the last `empty` or so.
fn partitions(empty: i32) -> Vec<PartitionView> {
    let on = |rack: i32| (BROKERS - empty + 2 - rack) / 3;
    let all = 0..REPLICAS / 3;
    let view = |at: i32| {
        let replicas: Vec<BrokerId> =
            (0..3).map(|rack| BrokerId(rack + 3 * ((at + rack) % on(rack)))).collect();
        PartitionView {
            topic: format!("topic-{}", at % TOPICS),
            partition: at / TOPICS,
            isr: replicas.clone(),
            leader: replicas.first().copied(),
            replicas,
            adding: Vec::new(),
            removing: Vec::new(),
            bytes: Some(1_000_000),
        }
    };
    all.map(view).collect()
}

fn seen(empty: i32) -> Observed {
    let ids = || (0..BROKERS).map(BrokerId);
    let pod = |id: BrokerId| PodView {
        uid: id.to_string(),
        outdated: false,
        phase: PodPhase::Running,
        ready: true,
        since_ms: 0,
        created_ms: 0,
        restart_marked: false,
        replace: None,
        node: None,
        node_lost: false,
        node_since_ms: 0,
        crashing: false,
        problem: None,
    };
    let partitions = partitions(empty);
    let hosted = |id| partitions.iter().filter(|p| p.replicas.contains(&id)).count() as u64;
    let view = |id: BrokerId| BrokerView {
        rack: Some(format!("rack-{}", id.0 % 3)),
        risk: Some(BrokerRisk { hosted: hosted(id), ..BrokerRisk::default() }),
        missing: Some(Missing::default()),
        settings: Some(BrokerSettings::default()),
        ..BrokerView::default()
    };
    let voters = (0..3).map(|id| (BrokerId(id), VoterView { caught_up: true })).collect();
    let quorum = QuorumView { leader: Some(BrokerId(0)), voters, ..QuorumView::default() };
    Observed {
        now_ms: 1_000_000,
        desired: Desired { voters: 3, ..Desired::default() },
        fleet: fleet(BROKERS),
        pods: ids().map(|id| (id, pod(id))).collect(),
        cluster: Some(ClusterView {
            brokers: ids().map(|id| (id, view(id))).collect(),
            quorum: Some(quorum),
            moves: Some(Vec::new()),
            ..ClusterView::default()
        }),
        partitions: Some(partitions),
        ..Observed::default()
    }
}

/// As many brokers as there always are, of which the user wants so many.
fn fleet(wanted: i32) -> Fleet {
    Fleet::of_one(wanted, Some(SetView { replicas: BROKERS, revision: Some("r".into()) }))
}

/// Resident memory of this process, in MiB.
fn memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    kib.unwrap_or(0) / 1024
}

/// Plans beside a task that wants to run every millisecond, as what renews the Lease would: the
/// plan, how long it took, and by how much that task was late at most.
async fn planned(mut seen: Observed) -> (plan::Plan, Duration, Duration) {
    let (ended, mut end) = tokio::sync::oneshot::channel::<()>();
    let beside = tokio::spawn(async move {
        let mut late = Duration::ZERO;
        loop {
            let begun = Instant::now();
            tokio::select! {
                _ = &mut end => return late,
                () = tokio::time::sleep(Duration::from_millis(1)) => {}
            }
            late = late.max(begun.elapsed().saturating_sub(Duration::from_millis(1)));
        }
    });
    let begun = Instant::now();
    let plan = observe::next_step(&mut seen).await.unwrap();
    let took = begun.elapsed();
    drop(ended);
    (plan, took, beside.await.unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement"]
async fn large_cluster() {
    let before = memory();
    let mut narrow = seen(0);
    for p in narrow.partitions.iter_mut().flatten().step_by(1000) {
        p.replicas[1] = BrokerId((p.replicas[0].0 + 3) % 102 % 100);
        p.isr.clone_from(&p.replicas);
    }
    let mut drain = seen(0);
    drain.fleet = fleet(BROKERS - 10);
    let cordoned = BrokerSettings { cordoned: true, throttled: false };
    let brokers = &mut drain.cluster.as_mut().unwrap().brokers;
    brokers.iter_mut().skip(90).for_each(|(_, broker)| broker.settings = Some(cordoned));
    println!("| pass | plan | runtime late at most | step |\n|---|---|---|---|");
    for (what, seen) in
        [("at rest", seen(0)), ("racks", narrow), ("34 new brokers", seen(34)), ("drain", drain)]
    {
        let (plan, took, late) = planned(seen).await;
        println!("| {what} | {took:.1?} | {late:.1?} | {} |", plan.step.name());
        assert!(late < LATE_MAX, "{what}: {late:?}");
    }
    println!("memory: {} MiB, {before} before", memory());
    waits().await;
}

/// Requests of a cluster in which one broker is not ready.
async fn waits() {
    let risk = json!({"activeController": 0, "racks": [], "brokers": (0..BROKERS).map(|id| json!({
        "id": id, "fenced": id == 99, "atRisk": 0, "hosted": 1000, "leading": 300,
        "cordoned": false, "throttled": false})).collect::<Vec<_>>()});
    let lacks = |id: i32| json!({"broker": id, "missing": if id == 99 { 1000 } else { 0 }});
    let caught_up = json!({"brokers": (0..BROKERS).map(lacks).collect::<Vec<_>>()});
    let asked = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let counted = asked.clone();
    let answer = move |path: &str| {
        counted.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        match path {
            "/restart-risk" => risk.clone(),
            "/moves" => json!({"inFlight": 0, "partitions": []}),
            _ => caught_up.clone(),
        }
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let http = listener.local_addr().unwrap().port();
    let router = axum::Router::new()
        .fallback(async move |uri: axum::http::Uri| axum::Json(answer(uri.path())));
    tokio::spawn(async move { axum::serve(listener, router).await });
    let (kafka, spoken) = broker(quorum).await;

    let api = FakeApi::default();
    let listeners = json!([{"name": "plain", "port": kafka.port()}]);
    cluster(&api, json!({"brokers": {"replicas": BROKERS}, "listeners": listeners}));
    let operator = operator_with(&api, &["--broker-http-port", &http.to_string()]);
    operator.pass("ns", "c").await.unwrap();
    start_pods(&api, BROKERS as usize, &ready_at("127.0.0.1"));
    for _ in 0..3 {
        operator.pass("ns", "c").await.unwrap();
    }
    api.take_requests();
    asked.store(0, std::sync::atomic::Ordering::Relaxed);
    spoken.lock().unwrap().clear();
    let begun = Instant::now();
    operator.pass("ns", "c").await.unwrap();
    let took = begun.elapsed();
    let requests = api.take_requests().len();
    let brokers =
        asked.load(std::sync::atomic::Ordering::Relaxed) + spoken.lock().unwrap().len() + 1;
    println!(
        "a waiting pass: {took:.1?}, {requests} requests to the API server, {brokers} to brokers"
    );
    println!("{}", status(&api)["message"]);
    println!("{:?}", kinds(&spoken.lock().unwrap()));
    for (when, wait) in [("at first", 2), ("after ten minutes", 30)] {
        let passes = 60 / wait;
        println!("per minute {when}: {} and {}", requests * passes, brokers * passes);
    }
    assert!(requests <= 20 && brokers <= 20, "{requests} {brokers}");
}

/// What brokers were asked over Kafka's protocol.
fn kinds(requests: &[AnyRequest]) -> Vec<String> {
    let name = |request: &AnyRequest| {
        format!("{request:?}").split('(').next().unwrap_or_default().to_owned()
    };
    requests.iter().map(name).collect()
}

fn ready_at(ip: &str) -> Value {
    json!({"phase": "Running", "podIP": ip, "conditions": [{"type": "Ready", "status": "True"}],
        "containerStatuses": running()["containerStatuses"]})
}

/// A quorum of three, and no configs of brokers; what else is asked has no answer.
fn quorum(request: &AnyRequest) -> Answer {
    use wire::messages::describe_configs_response::DescribeConfigsResult;
    use wire::messages::describe_quorum_response::{PartitionData, ReplicaState, TopicData};
    use wire::messages::{DescribeConfigsResponse, DescribeQuorumResponse};
    let now = k8s_openapi::jiff::Timestamp::now().as_millisecond();
    let voter = |replica_id| ReplicaState {
        replica_id,
        log_end_offset: 10,
        last_fetch_timestamp: now,
        last_caught_up_timestamp: now,
        ..Default::default()
    };
    match request {
        AnyRequest::DescribeQuorum(_) => {
            let voters = (0..3).map(voter).collect();
            let partition =
                PartitionData { leader_id: 0, current_voters: voters, ..Default::default() };
            let topic = TopicData { partitions: vec![partition], ..Default::default() };
            say(DescribeQuorumResponse { topics: vec![topic], ..Default::default() })
        }
        AnyRequest::DescribeConfigs(_) => {
            let results = vec![DescribeConfigsResult::default()];
            say(DescribeConfigsResponse { results, ..Default::default() })
        }
        _ => Answer::HangUp,
    }
}
