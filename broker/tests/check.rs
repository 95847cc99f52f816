//! `broker check` against one broker in this process, and against nothing.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::sync::Arc;
use std::time::{Duration, Instant};

use broker::boot::start;
use client::{Connection, Options};
use config::Config;
use dev::check::{CheckArgs, Limit, check};
use wire::messages::MetadataRequest;

fn args(bootstrap: &str, timeout: Duration) -> CheckArgs {
    CheckArgs {
        bootstrap: bootstrap.to_owned(),
        topic: "barnabas-check".to_owned(),
        partitions: 3,
        replication_factor: Some(1),
        records: 500,
        timeout: Limit(timeout),
    }
}

/// A leader is reached at the address that it advertises, so that has to be known beforehand.
fn free_address() -> String {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_working_cluster_passes_twice_and_is_left_as_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let address = free_address();
    let listeners = format!("PLAINTEXT://{address},CONTROLLER://127.0.0.1:0");
    let properties = [
        ("node.id", "1".to_owned()),
        ("listeners", listeners),
        ("controller.listener.names", "CONTROLLER".to_owned()),
        ("log.dirs", dir.path().display().to_string()),
    ];
    let own = properties.map(|(key, value)| (key.to_owned(), value));
    let config = Arc::new(Config::from_properties(BTreeMap::from(own)).unwrap());
    let running = start(config).unwrap();
    // The first address answers nobody.
    let bootstrap = format!("{},{address}", free_address());
    for _ in 0..2 {
        check(args(&bootstrap, Duration::from_secs(30))).await.unwrap();
    }
    let connection = Connection::open(&address, Options::default()).await.unwrap();
    let all = MetadataRequest { topics: None, ..Default::default() };
    let metadata = connection.call_newest(&all).await.unwrap();
    assert!(metadata.topics.is_empty(), "{:?}", metadata.topics);
    drop((connection, running));
}

#[tokio::test]
async fn nothing_there_fails_in_time_and_says_why() {
    let begun = Instant::now();
    let bootstrap = free_address();
    let error = check(args(&bootstrap, Duration::from_millis(600))).await.unwrap_err();
    assert!(begun.elapsed() < Duration::from_secs(5));
    let text = format!("{error:#}");
    assert!(text.contains("not within 600ms") && text.contains(&bootstrap), "{text}");
}
