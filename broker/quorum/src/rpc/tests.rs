//! Both ends of the transport against each other.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;
use std::time::Duration;

use base::tls::{ClientAuth, Pem, TlsIdentity, TlsSettings};
use bytes::Bytes;
use parking_lot::Mutex;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use transport::testing::Authority;
use transport::{Acceptor, Connector};

use super::*;
use crate::api::{BoxFuture, CallError};
use crate::secret::{End, Exchange, Guard, Nonce, Purpose, Secret, Side};

const ECHO: u8 = 40;
const REFUSE: u8 = 41;
const HANG: u8 = 42;
const TIMEOUT: Duration = Duration::from_secs(10);

#[derive(Default)]
struct Echo {
    events: Mutex<Vec<(&'static str, NodeId)>>,
    changed: Notify,
}

impl Echo {
    fn tell(&self, what: &'static str, node: NodeId) {
        self.events.lock().push((what, node));
        self.changed.notify_waiters();
    }

    async fn until(&self, event: (&'static str, NodeId)) {
        let seen = async {
            loop {
                let changed = self.changed.notified();
                if self.events.lock().contains(&event) {
                    return;
                }
                changed.await;
            }
        };
        tokio::time::timeout(TIMEOUT, seen).await.unwrap();
    }
}

impl RequestHandler for Echo {
    fn refuse(&self, node: NodeId, directory: TopicId, _: Channel) -> Option<String> {
        (node == REPLACED && directory == OLD_DISK).then(|| "another disk took its place".into())
    }

    fn request(&self, _: Peer, kind: u8, payload: Bytes) -> BoxFuture<Result<Bytes, Refusal>> {
        Box::pin(async move {
            match kind {
                ECHO => Ok(payload),
                HANG => std::future::pending().await,
                _ => Err(Refusal::Other("no".into())),
            }
        })
    }

    fn opened(&self, peer: Peer) {
        self.tell("opened", peer.node);
    }

    fn closed(&self, peer: Peer) {
        self.tell("closed", peer.node);
    }
}

const REPLACED: NodeId = 4;
const OLD_DISK: TopicId = TopicId([4; 16]);

fn identity(node: NodeId, cluster: Option<&str>) -> Arc<Identity> {
    guarded(node, cluster, Guard::Open)
}

fn guarded(node: NodeId, cluster: Option<&str>, guard: Guard) -> Arc<Identity> {
    Arc::new(Identity {
        node,
        cluster_id: cluster.map(str::to_owned),
        incarnation: 7,
        directory: TopicId([node as u8; 16]),
        guard,
        acceptor: Acceptor::Plain,
        connector: Connector::Plain,
    })
}

fn secret(text: &str) -> Secret {
    Secret::new(format!("the secret of {text}").as_bytes()).unwrap()
}

struct Server {
    address: NodeAddress,
    handler: Arc<Echo>,
    task: tokio::task::JoinHandle<()>,
}

async fn server() -> Server {
    server_of(identity(1, Some("c"))).await
}

async fn server_of(identity: Arc<Identity>) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = NodeAddress::new("127.0.0.1", listener.local_addr().unwrap().port());
    let handler = Arc::new(Echo::default());
    let task = tokio::spawn(serve(listener, identity, handler.clone()));
    Server { address, handler, task }
}

fn dialer(cluster: Option<&str>) -> Dialer {
    dialer_of(identity(2, cluster))
}

fn dialer_of(identity: Arc<Identity>) -> Dialer {
    Dialer { identity, addresses: Arc::new(AddressBook::new(&[])), connect_timeout: TIMEOUT }
}

#[tokio::test]
async fn many_requests_share_a_connection() {
    let server = server().await;
    let connection = dialer(None).connect(1, &server.address, Channel::Controller).await.unwrap();
    assert_eq!(connection.incarnation, 7);
    let calls = (0..100u32).map(|i| {
        let payload = Bytes::from(vec![i as u8; i as usize * 1000]);
        let connection = &connection;
        async move {
            let answer = connection.call(ECHO, payload.clone(), TIMEOUT).await;
            assert_eq!(answer.unwrap(), payload);
        }
    });
    futures::future::join_all(calls).await;
    let refused = connection.call(REFUSE, Bytes::new(), TIMEOUT).await;
    assert_eq!(refused, Err(CallError::Refused("no".into())));
    let hung = connection.call(HANG, Bytes::new(), Duration::from_millis(50)).await;
    assert!(matches!(hung, Err(CallError::NoAnswer(_))), "{hung:?}");
    let too_large = Bytes::from(vec![0; Channel::Controller.payload_bytes_max() + 1]);
    let refused = connection.call(ECHO, too_large, TIMEOUT).await;
    assert!(matches!(refused, Err(CallError::Refused(_))));
}

#[tokio::test]
async fn both_ends_see_a_connection_break() {
    let server = server().await;
    let connection =
        dialer(Some("c")).connect(1, &server.address, Channel::Controller).await.unwrap();
    server.handler.until(("opened", 2)).await;
    drop(connection);
    server.handler.until(("closed", 2)).await;

    let connection =
        dialer(Some("c")).connect(1, &server.address, Channel::Controller).await.unwrap();
    let (answer, ()) = tokio::join!(connection.call(HANG, Bytes::new(), TIMEOUT), async {
        // Only when the request is on its way does the break tell something about it.
        connection.call(ECHO, Bytes::new(), TIMEOUT).await.unwrap();
        server.task.abort();
        connection.closed().await;
    });
    assert!(matches!(answer, Err(CallError::NoAnswer(_))), "{answer:?}");
    let after = connection.call(ECHO, Bytes::new(), TIMEOUT).await;
    assert!(matches!(after, Err(CallError::Unreachable(_))), "{after:?}");
    server.task.await.unwrap_err();
    let refused = dialer(None).connect(1, &server.address, Channel::Raft).await.err();
    assert!(matches!(refused, Some(ConnectError::Refused)), "{refused:?}");
}

#[tokio::test]
async fn strangers_are_sent_away() {
    let server = server().await;
    let other_cluster = dialer(Some("d")).connect(1, &server.address, Channel::Raft).await.err();
    assert!(matches!(other_cluster, Some(ConnectError::Unwelcome(_))), "{other_cluster:?}");
    let other_node = dialer(Some("c")).connect(9, &server.address, Channel::Raft).await.err();
    assert!(matches!(other_node, Some(ConnectError::Unwelcome(_))), "{other_node:?}");
    assert!(server.handler.events.lock().is_empty());
}

fn hello(from: NodeId, nonce: Option<Nonce>) -> frame::Hello {
    frame::Hello {
        from,
        to: 1,
        channel: Channel::Raft,
        cluster_id: Some("c".into()),
        incarnation: 0,
        directory: TopicId::ZERO,
        to_directory: TopicId::ZERO,
        nonce,
        protocol: 1,
    }
}

/// Why the server does not serve it.
async fn refusal(server: &Server, identity: Arc<Identity>) -> String {
    match dialer_of(identity).connect(1, &server.address, Channel::Raft).await {
        Err(ConnectError::Unwelcome(why)) => why,
        Err(error) => panic!("{error}"),
        Ok(_) => panic!("served"),
    }
}

#[tokio::test]
async fn without_the_secret_nobody_is_served() {
    let strict = |node, text| guarded(node, Some("c"), Guard::Strict(secret(text)));
    let server = server_of(strict(1, "us")).await;
    assert!(refusal(&server, identity(2, Some("c"))).await.contains("does not prove"));
    assert!(refusal(&server, strict(2, "others")).await.contains("another secret"));
    let lenient = guarded(2, Some("c"), Guard::Lenient(secret("others")));
    assert!(refusal(&server, lenient).await.contains("node 2 has another secret"));
    let no_cluster = guarded(2, None, Guard::Strict(secret("us")));
    assert!(refusal(&server, no_cluster).await.contains("cluster ids differ"));
    assert!(server.handler.events.lock().is_empty());

    let dialer = dialer_of(strict(2, "us"));
    let connection = dialer.connect(1, &server.address, Channel::Raft).await.unwrap();
    connection.call(ECHO, Bytes::new(), TIMEOUT).await.unwrap();

    // Nor is a server believed that does not have it.
    let stranger = server_of(identity(1, Some("c"))).await;
    assert!(refusal(&stranger, strict(2, "us")).await.contains("node 1 does not prove"));
    let stranger = server_of(strict(1, "others")).await;
    assert!(refusal(&stranger, strict(2, "us")).await.contains("node 1 has another secret"));
}

#[tokio::test]
async fn a_recorded_proof_is_worthless() {
    let guard = Guard::Strict(secret("us"));
    let server = server_of(guarded(1, Some("c"), guard)).await;
    let to = (server.address.host.clone(), server.address.port);
    let nonce = Nonce::random();
    let hello = hello(2, Some(nonce));
    let open = async || {
        let mut stream = TcpStream::connect(to.clone()).await.unwrap();
        frame::write_hello(&mut stream, &hello).await.unwrap();
        let welcome: frame::Welcome = frame::read_hello(&mut stream).await.unwrap();
        (stream, welcome)
    };
    let verdict = async |mut stream: TcpStream, proof| {
        frame::write_hello(&mut stream, &frame::Answer { proof }).await.unwrap();
        let verdict: frame::Verdict = frame::read_hello(&mut stream).await.unwrap();
        verdict.refused
    };
    let (stream, welcome) = open().await;
    let challenge = welcome.challenge.unwrap();
    let end = |node, directory, incarnation, nonce| End { node, directory, incarnation, nonce };
    let said = Exchange {
        purpose: Purpose::Raft,
        cluster_id: "c",
        client: end(2, TopicId::ZERO, 0, nonce),
        server: end(1, welcome.directory, welcome.incarnation, challenge.nonce),
    };
    let proof = secret("us").prove(&said, Side::Client);
    assert_eq!(verdict(stream, proof).await, None, "it was a good one");
    server.handler.until(("opened", 2)).await;

    // The very same messages again, as one who listened would send them.
    let (stream, _) = open().await;
    assert!(verdict(stream, proof).await.unwrap().contains("another secret"));
    // And the server's own proof, sent back to it.
    let (stream, welcome) = open().await;
    let theirs = welcome.challenge.unwrap().proof;
    assert!(verdict(stream, theirs).await.unwrap().contains("another secret"));
}

#[tokio::test]
async fn until_all_have_the_secret_it_is_asked_of_nobody() {
    let lenient = |node, text| guarded(node, Some("c"), Guard::Lenient(secret(text)));
    let server = server_of(lenient(1, "us")).await;
    let strict = guarded(2, Some("c"), Guard::Strict(secret("us")));
    for identity in [identity(2, Some("c")), lenient(2, "us"), lenient(2, "others"), strict] {
        let dialer = dialer_of(identity);
        let connection = dialer.connect(1, &server.address, Channel::Raft).await.unwrap();
        connection.call(ECHO, Bytes::new(), TIMEOUT).await.unwrap();
    }
    let without = server_of(identity(1, Some("c"))).await;
    let dialer = dialer_of(lenient(2, "us"));
    dialer.connect(1, &without.address, Channel::Raft).await.unwrap();
}

#[tokio::test]
async fn a_node_is_meant_with_its_disk() {
    let server = server().await;
    let dialer = dialer(Some("c"));
    let with = |disk| server.address.clone().in_directory(TopicId([disk; 16]));
    dialer.connect(1, &with(1), Channel::Raft).await.unwrap();
    dialer.connect(1, &with(0), Channel::Raft).await.unwrap();
    let other = dialer.connect(1, &with(9), Channel::Raft).await.err();
    assert!(matches!(other, Some(ConnectError::Unwelcome(_))), "{other:?}");
    let replaced = identity(REPLACED, Some("c"));
    assert!(refusal(&server, replaced).await.contains("took its place"));
    // A second process with the id of the first.
    assert!(refusal(&server, identity(1, Some("c"))).await.contains("another node.id"));
}

/// What brokers of the version before the secret say, byte by byte.
#[tokio::test]
async fn the_older_version_is_understood() {
    #[derive(serde::Serialize)]
    struct OldHello {
        from: NodeId,
        to: NodeId,
        channel: Channel,
        cluster_id: Option<String>,
        incarnation: u64,
    }
    #[derive(serde::Serialize, serde::Deserialize)]
    struct OldWelcome {
        node: NodeId,
        incarnation: u64,
        refused: Option<String>,
    }
    let server = server_of(guarded(1, Some("c"), Guard::Lenient(secret("us")))).await;
    let to = (server.address.host.clone(), server.address.port);
    let mut stream = TcpStream::connect(to).await.unwrap();
    let cluster_id = Some("c".to_owned());
    let hello = OldHello { from: 2, to: 1, channel: Channel::Raft, cluster_id, incarnation: 0 };
    frame::write_hello(&mut stream, &hello).await.unwrap();
    let welcome: OldWelcome = frame::read_hello(&mut stream).await.unwrap();
    assert_eq!(welcome.refused, None);
    server.handler.until(("opened", 2)).await;

    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = NodeAddress::new("127.0.0.1", listener.local_addr().unwrap().port());
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let _: frame::Hello = frame::read_hello(&mut stream).await.unwrap();
        let welcome = OldWelcome { node: 1, incarnation: 3, refused: None };
        frame::write_hello(&mut stream, &welcome).await.unwrap();
        stream.read_to_end(&mut Vec::new()).await.ok();
    });
    let lenient = dialer_of(guarded(2, Some("c"), Guard::Lenient(secret("us"))));
    let connection = lenient.connect(1, &address, Channel::Raft).await.unwrap();
    assert_eq!(connection.incarnation, 3);
}

#[tokio::test]
async fn garbage_ends_its_own_connection_only() {
    let server = server().await;
    let to = (server.address.host.clone(), server.address.port);
    let mut stranger = TcpStream::connect(to.clone()).await.unwrap();
    stranger.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    // The end may be a reset, because the rest of the request was not read.
    stranger.read_to_end(&mut Vec::new()).await.ok();

    let mut liar = TcpStream::connect(to).await.unwrap();
    frame::write_hello(&mut liar, &hello(5, None)).await.unwrap();
    let _: frame::Welcome = frame::read_hello(&mut liar).await.unwrap();
    liar.write_all(&[0xff; 13]).await.unwrap();
    liar.read_to_end(&mut Vec::new()).await.ok();
    server.handler.until(("closed", 5)).await;

    let connection = dialer(None).connect(1, &server.address, Channel::Raft).await.unwrap();
    let answer = connection.call(ECHO, Bytes::from_static(b"still here"), TIMEOUT).await;
    assert_eq!(answer.unwrap(), "still here");
}

#[tokio::test]
async fn a_link_connects_again() {
    let first = server().await;
    let link = Link::new(dialer(None), 1, first.address.clone(), Channel::Raft);
    link.call(ECHO, Bytes::new(), TIMEOUT).await.unwrap();
    first.task.abort();
    first.task.await.unwrap_err();
    let to = (first.address.host.as_str(), first.address.port);
    let listener = TcpListener::bind(to).await.unwrap();
    let task = tokio::spawn(serve(listener, identity(1, None), first.handler.clone()));
    first.handler.until(("closed", 2)).await;
    // The first call may find the old connection before its end is seen.
    link.call(ECHO, Bytes::new(), TIMEOUT).await.ok();
    link.call(ECHO, Bytes::new(), TIMEOUT).await.unwrap();
    task.abort();
}

/// Mutual TLS, with a certificate of this authority.
fn encrypted(node: NodeId, own: &Authority, trusted: &Authority) -> Arc<Identity> {
    let text = |text: String| Pem::Text(text.into());
    let both = text(own.issue("node", |_| {}));
    let settings = TlsSettings {
        identity: Some(TlsIdentity { chain: both.clone(), key: both }),
        trust: Some(text(trusted.pem())),
        client_auth: ClientAuth::Required,
        tls12: true,
        tls13: true,
        verifies_names: true,
    };
    Arc::new(Identity {
        acceptor: Acceptor::tls(settings.clone()).unwrap(),
        connector: Connector::tls(settings).unwrap(),
        ..(*identity(node, Some("c"))).clone()
    })
}

#[tokio::test]
async fn nodes_speak_tls_and_nobody_else_gets_to_the_handshake() {
    let (ours, others) = (Authority::new("ours"), Authority::new("others"));
    let server = server_of(encrypted(1, &ours, &ours)).await;
    let dial = async |identity| {
        dialer_of(identity).connect(1, &server.address, Channel::Raft).await.map(Arc::new)
    };
    let connection = dial(encrypted(2, &ours, &ours)).await.unwrap();
    let payload = Bytes::from(vec![5; 1_000_000]);
    assert_eq!(connection.call(ECHO, payload.clone(), TIMEOUT).await.unwrap(), payload);
    for (stranger, why) in [
        (encrypted(3, &others, &ours), "its certificate is another authority's"),
        (encrypted(3, &ours, &others), "the server's is another authority's"),
        (identity(3, Some("c")), "it speaks no TLS"),
    ] {
        assert!(dial(stranger).await.is_err(), "{why}");
    }
    assert_eq!(*server.handler.events.lock(), [("opened", 2)]);
}
