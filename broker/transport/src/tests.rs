//! Both ends over a socket, with authorities made for the test.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::Path;
use std::time::Duration;

use base::tls::{ClientAuth, Pem, TlsIdentity, TlsSettings};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::testing::Authority;
use super::*;

const PATIENT: Patience = Patience { silence: None, handshake: Duration::from_secs(60) };

fn settings(identity: Option<&str>, trust: Option<&Authority>) -> TlsSettings {
    let text = |text: &str| Pem::Text(text.into());
    TlsSettings {
        identity: identity.map(|both| TlsIdentity { chain: text(both), key: text(both) }),
        trust: trust.map(|authority| text(&authority.pem())),
        client_auth: ClientAuth::None,
        tls12: true,
        tls13: true,
        verifies_names: true,
    }
}

fn requiring(settings: TlsSettings) -> TlsSettings {
    TlsSettings { client_auth: ClientAuth::Required, ..settings }
}

/// What came of a connection at both ends, after a few bytes in both directions.
async fn talk(acceptor: &Acceptor, connector: &Connector) -> (Result<Stream, String>, bool) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = async {
        let (tcp, _) = listener.accept().await.unwrap();
        let mut stream = acceptor.accept(tcp, PATIENT).await.map_err(|e| e.to_string())?;
        let mut said = [0; 4];
        stream.read_exact(&mut said).await.map_err(|e| e.to_string())?;
        stream.write_all(&said).await.map_err(|e| e.to_string())?;
        stream.flush().await.map_err(|e| e.to_string())?;
        Ok(stream)
    };
    let client = async {
        let tcp = TcpStream::connect(address).await.unwrap();
        let mut stream = connector.connect(tcp, "localhost").await?;
        stream.write_all(b"ping").await?;
        stream.flush().await?;
        let mut heard = [0; 4];
        stream.read_exact(&mut heard).await?;
        Ok::<bool, std::io::Error>(&heard == b"ping")
    };
    let (server, client) = tokio::join!(server, client);
    (server, client.unwrap_or(false))
}

#[tokio::test]
async fn both_ends_meet_in_either_version() {
    let authority = Authority::new("ca");
    let server = authority.issue("server", |_| {});
    let acceptor = Acceptor::tls(settings(Some(&server), None)).unwrap();
    for (tls12, tls13) in [(true, false), (false, true), (true, true)] {
        let client = TlsSettings { tls12, tls13, ..settings(None, Some(&authority)) };
        let (stream, heard) = talk(&acceptor, &Connector::tls(client).unwrap()).await;
        assert!(heard, "{tls12} {tls13}");
        assert_eq!(stream.unwrap().peer_name(), Ok(None));
    }
    let old = TlsSettings { tls12: false, ..settings(Some(&server), None) };
    let client = TlsSettings { tls13: false, ..settings(None, Some(&authority)) };
    let (stream, heard) =
        talk(&Acceptor::tls(old).unwrap(), &Connector::tls(client).unwrap()).await;
    assert!(stream.is_err() && !heard, "they have no version in common");
}

#[tokio::test]
async fn a_client_is_known_by_the_subject_of_its_certificate() {
    let (authority, stranger) = (Authority::new("ca"), Authority::new("other"));
    let server = authority.issue("server", |_| {});
    let acceptor = requiring(settings(Some(&server), Some(&authority)));
    let acceptor = Acceptor::tls(acceptor).unwrap();
    let with =
        |identity: Option<&str>| Connector::tls(settings(identity, Some(&authority))).unwrap();
    let alice = authority.issue("alice", |_| {});
    let (stream, heard) = talk(&acceptor, &with(Some(&alice))).await;
    assert!(heard);
    assert_eq!(stream.unwrap().peer_name(), Ok(Some("CN=alice,O=acme".to_owned())));
    let (none, heard) = talk(&acceptor, &with(None)).await;
    assert!(none.is_err() && !heard, "a certificate is required");
    let mallory = stranger.issue("alice", |_| {});
    let (wrong, heard) = talk(&acceptor, &with(Some(&mallory))).await;
    assert!(wrong.is_err() && !heard, "another authority's is none");
    let expired = authority.issue("alice", testing::expired);
    let (late, heard) = talk(&acceptor, &with(Some(&expired))).await;
    assert!(late.is_err() && !heard, "it has expired");
}

#[tokio::test]
async fn a_server_is_known_by_its_name_unless_that_is_switched_off() {
    let authority = Authority::new("ca");
    let server = authority.issue("server", |params| {
        params.subject_alt_names = vec![rcgen::SanType::DnsName("elsewhere".try_into().unwrap())];
    });
    let acceptor = Acceptor::tls(settings(Some(&server), None)).unwrap();
    let strict = settings(None, Some(&authority));
    let any = TlsSettings { verifies_names: false, ..strict.clone() };
    assert!(!talk(&acceptor, &Connector::tls(strict).unwrap()).await.1);
    assert!(talk(&acceptor, &Connector::tls(any).unwrap()).await.1);
    let stranger = settings(None, Some(&Authority::new("other")));
    let any = TlsSettings { verifies_names: false, ..stranger };
    assert!(!talk(&acceptor, &Connector::tls(any).unwrap()).await.1, "names are not authorities");
}

fn in_file(path: &Path) -> TlsSettings {
    let pem = Pem::File(path.to_owned());
    let identity = Some(TlsIdentity { chain: pem.clone(), key: pem });
    TlsSettings { identity, ..settings(None, None) }
}

#[tokio::test]
async fn new_connections_get_the_certificate_that_the_file_has_now() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("server.pem");
    let (old, new) = (Authority::new("old"), Authority::new("new"));
    fs::write(&file, old.issue("server", |_| {})).unwrap();
    let acceptor = Acceptor::tls(in_file(&file)).unwrap();
    let trusts = |authority| Connector::tls(settings(None, Some(authority))).unwrap();
    let (stream, heard) = talk(&acceptor, &trusts(&old)).await;
    assert!(heard && matches!(acceptor.refresh(), Outcome::Unchanged));
    fs::write(&file, "half a file").unwrap();
    assert!(matches!(acceptor.refresh(), Outcome::Failed(_)));
    assert!(talk(&acceptor, &trusts(&old)).await.1, "what cannot be used changes nothing");
    fs::write(&file, new.issue("server", |_| {})).unwrap();
    assert!(matches!(acceptor.refresh(), Outcome::Reloaded));
    assert!(talk(&acceptor, &trusts(&new)).await.1);
    assert!(!talk(&acceptor, &trusts(&old)).await.1);
    assert!(stream.unwrap().write_all(b"old connections stay").await.is_ok());
}

#[test]
fn what_cannot_work_is_named_without_a_byte_of_a_key() {
    let authority = Authority::new("ca");
    let server = authority.issue("server", |_| {});
    let error = |settings| Acceptor::tls(settings).err().unwrap().to_string();
    assert!(error(settings(None, None)).contains("ssl.keystore"));
    assert!(error(requiring(settings(Some(&server), None))).contains("ssl.truststore"));
    assert!(error(in_file(Path::new("/nowhere/x.pem"))).contains("/nowhere/x.pem"));
    let key = server.split_once("-----BEGIN PRIVATE").unwrap().1;
    let encrypted = server.replace("PRIVATE KEY", "ENCRYPTED PRIVATE KEY");
    let told = error(settings(Some(&encrypted), None));
    assert!(told.contains("openssl pkcs8") && !told.contains(&key[20..40]), "{told}");
    let (mut other, own) = (settings(Some(&server), None), authority.issue("x", |_| {}));
    other.identity.as_mut().unwrap().key = Pem::Text(own.as_str().into());
    assert!(!error(other).is_empty(), "the key belongs to another certificate");
}

#[tokio::test]
async fn who_says_nothing_is_let_go() {
    let authority = Authority::new("ca");
    let server = authority.issue("server", |_| {});
    let acceptor = Acceptor::tls(settings(Some(&server), None)).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let moment = Duration::from_millis(20);
    let _silent = TcpStream::connect(address).await.unwrap();
    let (tcp, _) = listener.accept().await.unwrap();
    let short = Patience { silence: Some(moment), ..PATIENT };
    assert!(matches!(acceptor.accept(tcp, short).await, Err(HandshakeError::Silent)));
    let mut slow = TcpStream::connect(address).await.unwrap();
    let (tcp, _) = listener.accept().await.unwrap();
    slow.write_all(&[0x16, 3, 1]).await.unwrap();
    let short = Patience { handshake: moment, ..PATIENT };
    assert!(matches!(acceptor.accept(tcp, short).await, Err(HandshakeError::Slow)));
}
