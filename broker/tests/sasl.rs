//! A broker with a listener for SASL, asked over the wire.
#![allow(clippy::unwrap_used)]

mod support;

use std::fs;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use base::ErrorCode;
use bytes::Bytes;
use client::{Connection, Options};
use support::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use transport::testing::Authority;
use wire::messages::*;

const LISTENERS: &str = "PLAINTEXT://127.0.0.1:0,CLIENTS://127.0.0.1:0,CONTROLLER://127.0.0.1:0";
const ADVERTISED: &str = "PLAINTEXT://127.0.0.1:0,CLIENTS://127.0.0.1:0";
const MAP: &str = "PLAINTEXT:PLAINTEXT,CLIENTS:SASL_PLAINTEXT,CONTROLLER:PLAINTEXT";
const USERS: &str = "org.apache.kafka.common.security.plain.PlainLoginModule required \
                     user_bob=\"builder\";";
const DELAY: Duration = Duration::from_millis(300);

async fn rig() -> Rig {
    Rig::start_with(&[
        ("listeners", LISTENERS),
        ("advertised.listeners", ADVERTISED),
        ("listener.security.protocol.map", MAP),
        ("listener.name.clients.sasl.enabled.mechanisms", "PLAIN"),
        ("listener.name.clients.plain.sasl.jaas.config", USERS),
        ("sasl.server.max.receive.size", "1000"),
        ("connection.failed.authentication.delay.ms", "300"),
    ])
    .await
}

async fn connect(rig: &Rig) -> Connection {
    let address = rig.running.addresses[1].to_string();
    Connection::connect(&address, Options::default()).await.unwrap()
}

async fn log_in(connection: &Connection, password: &str) -> ErrorCode {
    let handshake = SaslHandshakeRequest { mechanism: "PLAIN".into() };
    let offered = connection.call(&handshake, 1).await.unwrap();
    assert_eq!((offered.error_code, offered.mechanisms), (0, vec!["PLAIN".into()]));
    let auth_bytes = Bytes::from(format!("\0bob\0{password}"));
    let answer = connection.call(&SaslAuthenticateRequest { auth_bytes }, 2).await.unwrap();
    ErrorCode::from_i16(answer.error_code).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_known_may_ask_for_everything() {
    let rig = rig().await;
    let connection = connect(&rig).await;
    assert_eq!(log_in(&connection, "builder").await, ErrorCode::None);
    // Larger than what those may send who are not known.
    let request = rig.produce_request(-1, 0, batch(1, 500_000));
    let response = connection.call(&request, 9).await.unwrap();
    assert_eq!(response.responses[0].partition_responses[0].error_code, 0);
    drop(connection);
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_not_known_hears_nothing() {
    let rig = rig().await;
    let connection = connect(&rig).await;
    connection.call(&ApiVersionsRequest::default(), 0).await.unwrap();
    assert!(connection.call(&MetadataRequest::default(), 12).await.is_err());
    // What is announced as too large ends the connection before it comes.
    let mut stream = TcpStream::connect(rig.running.addresses[1]).await.unwrap();
    stream.write_all(&2_000_i32.to_be_bytes()).await.unwrap();
    assert_eq!(read_frame(&mut stream).await, None);
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_fails_hears_of_it_late_and_is_cut_off() {
    let rig = rig().await;
    let connection = connect(&rig).await;
    let begun = Instant::now();
    assert_eq!(log_in(&connection, "wrong").await, ErrorCode::SaslAuthenticationFailed);
    assert!(begun.elapsed() >= DELAY);
    connection.closed().await;
    let another = connect(&rig).await;
    assert_eq!(log_in(&another, "builder").await, ErrorCode::None, "nobody is locked out");
    drop(another);
    rig.stop().await;
}

/// Of each of five kinds.
const CROWD: usize = 200;
/// The listeners that strangers come to, by the places of their addresses.
const CLIENTS: usize = 1;
const SECURE: usize = 2;
const BROKERS: usize = 3;

/// Connects, says something and leaves it there; over when the broker has ended the connection.
async fn stranger(
    to: SocketAddr,
    words: &[u8],
    is_answered: bool,
) -> impl Future<Output = ()> + use<> {
    let mut stream = TcpStream::connect(to).await.unwrap();
    stream.write_all(words).await.unwrap();
    if is_answered {
        read_frame(&mut stream).await.unwrap();
    }
    async move {
        let mut rest = [0; 64];
        while stream.read(&mut rest).await.is_ok_and(|count| count > 0) {}
    }
}

/// Bytes of memory that this process has, and both ends of all connections with it.
fn resident_bytes() -> usize {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<usize>().unwrap() * 1024
}

async fn rig_for_a_crowd(dir: &std::path::Path) -> Rig {
    let keystore = dir.join("server.pem");
    fs::write(&keystore, Authority::new("ca").issue("server", |_| {})).unwrap();
    let names = ["PLAINTEXT", "CLIENTS", "SECURE", "BROKERS"];
    let listeners = names.map(|name| format!("{name}://127.0.0.1:0")).join(",");
    let map = "PLAINTEXT:PLAINTEXT,CLIENTS:SASL_PLAINTEXT,SECURE:SASL_SSL,\
               BROKERS:SASL_PLAINTEXT,CONTROLLER:PLAINTEXT";
    Rig::start_with(&[
        ("listeners", &format!("{listeners},CONTROLLER://127.0.0.1:0")),
        ("advertised.listeners", &listeners),
        ("listener.security.protocol.map", map),
        ("inter.broker.listener.name", "BROKERS"),
        ("sasl.enabled.mechanisms", "PLAIN"),
        ("listener.name.clients.plain.sasl.jaas.config", USERS),
        ("listener.name.secure.plain.sasl.jaas.config", USERS),
        ("listener.name.brokers.plain.sasl.jaas.config", USERS),
        ("listener.name.secure.ssl.keystore.type", "PEM"),
        ("listener.name.secure.ssl.keystore.location", keystore.to_str().unwrap()),
    ])
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crowd_that_never_authenticates_is_let_go_and_disturbs_nobody() {
    let dir = tempfile::tempdir().unwrap();
    let rig = rig_for_a_crowd(dir.path()).await;
    let bob = connect(&rig).await;
    assert_eq!(log_in(&bob, "builder").await, ErrorCode::None);
    let before = resident_bytes();
    let handshake = frame(&SaslHandshakeRequest { mechanism: "PLAIN".into() }, 1, 1);
    // The next frame is announced, and begins.
    let half = [&handshake[..], &[0, 0, 2, 0, 0, 36, 0, 2]].concat();
    // As of a hello of TLS.
    let hello = [&[0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3][..], &[7; 32]].concat();
    let kinds: [(usize, &[u8], bool); 5] = [
        (CLIENTS, &[], false),
        (CLIENTS, &half, true),
        (SECURE, &[], false),
        (SECURE, &hello, false),
        (BROKERS, &handshake, true),
    ];
    let mut crowd = JoinSet::new();
    for (listener, words, is_answered) in kinds.iter().cycle().take(5 * CROWD) {
        let to = rig.running.addresses[*listener];
        crowd.spawn(stranger(to, words, *is_answered).await);
    }
    // Another broker would see by it that this process ended.
    let watch = stranger(rig.running.addresses[BROKERS], &[], false).await;
    let watch = tokio::spawn(watch);
    let held = resident_bytes().saturating_sub(before);
    println!("{held} bytes for {} strangers", crowd.len());
    assert!(held < 5 * CROWD * 64 * 1024, "{held} bytes");
    assert!(!rig.running.broker.memory.is_scarce());

    let gone = async { while crowd.join_next().await.is_some() {} };
    let served = async {
        loop {
            let request = rig.produce_request(-1, 0, batch(1, 100));
            let answer = timeout(Duration::from_secs(20), bob.call(&request, 9)).await;
            let answer = answer.expect("who is known waits").unwrap();
            assert_eq!(answer.responses[0].partition_responses[0].error_code, 0);
            let another = connect(&rig).await;
            assert_eq!(log_in(&another, "builder").await, ErrorCode::None);
            sleep(Duration::from_millis(200)).await;
        }
    };
    let gone = timeout(Duration::from_secs(120), gone);
    tokio::select! {
        gone = gone => gone.expect("a stranger stays"),
        () = served => {}
    }
    assert!(!watch.is_finished(), "a silent connection of a broker stays");
    watch.abort();
    drop(bob);
    rig.stop().await;
}
