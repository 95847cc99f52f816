//! A broker with a listener for SASL, asked over the wire.
#![allow(clippy::unwrap_used)]

mod support;

use std::time::{Duration, Instant};

use base::ErrorCode;
use bytes::Bytes;
use client::{Connection, Options};
use support::*;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
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
