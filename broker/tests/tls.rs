//! A broker with a listener for TLS, asked over the wire.
#![allow(clippy::unwrap_used)]

mod support;

use std::fs;
use std::path::Path;
use std::time::Duration;

use base::tls::{ClientAuth, Pem, TlsIdentity, TlsSettings};
use client::{Connection, Options};
use support::*;
use tokio::time::{sleep, timeout};
use transport::Connector;
use transport::testing::{Authority, expired};
use wire::messages::*;

const LISTENERS: &str = "PLAINTEXT://127.0.0.1:0,SSL://127.0.0.1:0,CONTROLLER://127.0.0.1:0";
const ADVERTISED: &str = "PLAINTEXT://127.0.0.1:0,SSL://127.0.0.1:0";

fn text(text: &str) -> Pem {
    Pem::Text(text.into())
}

fn connector(authority: &Authority, identity: Option<&str>) -> Connector {
    let identity = identity.map(|both| TlsIdentity { chain: text(both), key: text(both) });
    let settings = TlsSettings {
        identity,
        trust: Some(text(&authority.pem())),
        client_auth: ClientAuth::None,
        tls12: true,
        tls13: true,
        verifies_names: true,
    };
    Connector::tls(settings).unwrap()
}

/// A broker whose certificates are in `dir`.
async fn rig(dir: &Path, authority: &Authority, more: &[(&str, &str)]) -> Rig {
    let (keystore, truststore) = (dir.join("server.pem"), dir.join("ca.pem"));
    fs::write(&keystore, authority.issue("server", |_| {})).unwrap();
    fs::write(&truststore, authority.pem()).unwrap();
    let keys = [
        ("listeners", LISTENERS),
        ("advertised.listeners", ADVERTISED),
        ("ssl.keystore.type", "PEM"),
        ("ssl.keystore.location", keystore.to_str().unwrap()),
        ("ssl.truststore.type", "PEM"),
        ("ssl.truststore.location", truststore.to_str().unwrap()),
    ];
    Rig::start_with(&[&keys, more].concat()).await
}

async fn connect(rig: &Rig, connector: Connector) -> Option<Connection> {
    let address = rig.running.addresses[1].to_string();
    let options = Options { connector, ..Options::default() };
    let connection = Connection::connect(&address, options).await.ok()?;
    // A client of TLS 1.3 learns only afterwards that its certificate is refused.
    let asked = connection.call(&ApiVersionsRequest::default(), 0).await;
    asked.ok().map(|_| connection)
}

#[tokio::test(flavor = "multi_thread")]
async fn records_come_back_as_they_went_however_many() {
    let (dir, authority) = (tempfile::tempdir().unwrap(), Authority::new("ca"));
    let rig = rig(dir.path(), &authority, &[]).await;
    let connection = connect(&rig, connector(&authority, None)).await.unwrap();
    let sent: Vec<Vec<u8>> = (0..12).map(|_| batch(3, 300_000)).collect();
    for batch in &sent {
        let request = rig.produce_request(-1, 0, batch.clone());
        let response = connection.call(&request, 9).await.unwrap();
        assert_eq!(response.responses[0].partition_responses[0].error_code, 0);
    }
    let mut wanted = want(0, 0);
    wanted.partition_max_bytes = 50 << 20;
    let response = connection.call(&fetch(vec![wanted.clone()]), FETCH).await.unwrap();
    let encrypted = partitions(&response)[0].records.clone().into_bytes().unwrap();
    let plain = rig.fetch(fetch(vec![wanted])).await;
    let plain = partitions(&plain)[0].records.clone().into_bytes().unwrap();
    assert!(encrypted == plain && encrypted.len() > 10_000_000);
    drop(connection);
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_is_who_its_certificate_says() {
    let (dir, authority) = (tempfile::tempdir().unwrap(), Authority::new("ca"));
    let rules = "RULE:^CN=([a-z]+),O=acme$/$1/U";
    let more = [
        ("listener.name.ssl.ssl.client.auth", "required"),
        ("listener.name.ssl.ssl.principal.mapping.rules", rules),
    ];
    let rig = rig(dir.path(), &authority, &more).await;
    let alice = authority.issue("alice", |_| {});
    let connection = connect(&rig, connector(&authority, Some(&alice))).await.unwrap();
    let refused = [
        ("no certificate", None),
        ("no rule has a name for it", Some(authority.issue("nobody-9", |_| {}))),
        ("it has expired", Some(authority.issue("alice", expired))),
        ("another authority's", Some(Authority::new("other").issue("alice", |_| {}))),
    ];
    for (why, identity) in refused {
        let connector = connector(&authority, identity.as_deref());
        assert!(connect(&rig, connector).await.is_none(), "{why}");
    }
    assert!(connect(&rig, Connector::Plain).await.is_none(), "it speaks TLS only");
    drop(connection);
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_certificate_is_used_without_a_restart() {
    let (dir, old) = (tempfile::tempdir().unwrap(), Authority::new("old"));
    let rig = rig(dir.path(), &old, &[]).await;
    let before = connect(&rig, connector(&old, None)).await.unwrap();
    let new = Authority::new("new");
    fs::write(dir.path().join("server.pem"), new.issue("server", |_| {})).unwrap();
    let renewed = async {
        while connect(&rig, connector(&new, None)).await.is_none() {
            sleep(Duration::from_millis(50)).await;
        }
    };
    timeout(Duration::from_secs(30), renewed).await.unwrap();
    assert!(connect(&rig, connector(&old, None)).await.is_none());
    before.call(&ApiVersionsRequest::default(), 0).await.expect("old connections stay");
    drop(before);
    rig.stop().await;
}
