//! Brokers that answer, or do not, and what is believed.

#![allow(clippy::unwrap_used)]

use axum::extract::State;
use axum::routing::get;
use axum::{Json, Router};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::*;

/// A broker on an address of its own, all on one port.
async fn broker(address: &str, port: u16, risk: Value) -> (IpAddr, u16) {
    let routes = Router::new()
        .route("/restart-risk", get(async |State(risk): State<Value>| Json(risk)))
        .route(
            "/moves",
            get(async || {
                Json(json!({"offset": 1, "inFlight": 1, "partitions": [
            {"topic": "t", "partition": 2, "replicas": [0, 1], "adding": [1], "removing": [],
             "isr": [0]}]}))
            }),
        )
        .route("/caught-up", get(async || Json(json!({"missing": 3, "examples": ["t-2"]}))))
        .with_state(risk);
    let listener = TcpListener::bind((address, port)).await.unwrap();
    let at = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, routes).await });
    (at.ip(), at.port())
}

fn risk(controller: Option<i32>, at_risk: u64) -> Value {
    json!({"offset": 9, "activeController": controller, "brokers": [
        {"id": 0, "fenced": false, "atRisk": at_risk, "examples": ["t-0"], "unavoidable": 1,
         "unavoidableExamples": ["u-0"], "hosted": 4, "leading": 2}],
        "racks": [{"rack": "a", "brokers": [0], "atRisk": 5, "examples": []}]})
}

#[tokio::test]
async fn all_brokers_take_one_question() {
    let asked = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let counter = asked.clone();
    let one = |id: i32| json!({"broker": id, "missing": id, "examples": []});
    let routes = Router::new().route(
        "/caught-up",
        get(async move || {
            counter.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            Json(json!({"offset": 1, "brokers": (0..50).map(one).collect::<Vec<_>>()}))
        }),
    );
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, routes).await });
    let risk = serde_json::from_value(risk(Some(0), 0)).unwrap();
    let found = missing(at.ip(), at.port(), &risk).await;
    assert_eq!((found.len(), found[&BrokerId(7)].count), (50, 7));
    assert_eq!(asked.load(std::sync::atomic::Ordering::Relaxed), 1);
}

#[tokio::test]
async fn the_controller_is_believed_not_the_first_that_answers() {
    let (stale, port) = broker("127.0.0.1", 0, risk(Some(1), 0)).await;
    let (controller, _) = broker("127.0.0.2", port, risk(Some(1), 7)).await;
    let dead = "127.0.0.3".parse().unwrap();
    let pods = [(BrokerId(2), dead), (BrokerId(0), stale), (BrokerId(1), controller)];
    let probes = ask("ours", &pods, port).await.unwrap();
    assert_eq!(probes.controller, BrokerId(1));
    let zero = &probes.brokers[&BrokerId(0)];
    assert_eq!((zero.risk.at_risk, zero.risk.unavoidable, zero.risk.hosted), (7, 1, 4));
    assert_eq!(zero.missing.as_ref().unwrap().count, 3);
    assert_eq!(probes.racks["a"].at_risk, 5);
    assert_eq!(probes.moves.unwrap()[0].adding, [BrokerId(1)]);
}

/// Each silent broker is asked for seconds; a hundred of them must not hold up other clusters.
#[tokio::test]
async fn a_large_cluster_that_is_silent_takes_one_deadline() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let pods: Vec<_> =
        (0..100).map(|id| (BrokerId(id), listener.local_addr().unwrap().ip())).collect();
    let begun = std::time::Instant::now();
    let error = ask("ours", &pods, port).await.unwrap_err();
    assert_eq!(error, "no broker answers in time");
    assert!(begun.elapsed() < FIRST_MAX + Duration::from_secs(2));
}

#[tokio::test]
async fn without_the_controller_s_word_nothing_is_known() {
    let (only, port) = broker("127.0.0.1", 0, risk(Some(1), 0)).await;
    let error = ask("ours", &[(BrokerId(0), only)], port).await.unwrap_err();
    assert!(error.contains("broker 1, has no pod"), "{error}");
    let (only, port) = broker("127.0.0.1", 0, risk(None, 0)).await;
    let error = ask("ours", &[(BrokerId(0), only)], port).await.unwrap_err();
    assert!(error.contains("no active controller"), "{error}");
    let dead = ("127.0.0.9".parse().unwrap(), 1);
    let error = ask("ours", &[(BrokerId(0), dead.0)], dead.1).await.unwrap_err();
    assert!(error.contains("broker 0 does not answer"), "{error}");
}

#[tokio::test]
async fn an_address_that_is_another_cluster_s_now_is_not_believed() {
    let mut other = risk(Some(0), 0);
    other["clusterId"] = json!("theirs");
    let (address, port) = broker("127.0.0.1", 0, other).await;
    let error = ask("ours", &[(BrokerId(0), address)], port).await.unwrap_err();
    assert!(error.contains("another cluster"), "{error}");
    let mut ours = risk(Some(0), 0);
    ours["clusterId"] = json!("ours");
    let (address, port) = broker("127.0.0.1", 0, ours).await;
    assert!(ask("ours", &[(BrokerId(0), address)], port).await.is_ok());
}
