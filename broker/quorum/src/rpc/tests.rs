//! Both ends of the transport against each other.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;

use super::*;
use crate::api::{BoxFuture, CallError};

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

fn identity(node: NodeId, cluster: Option<&str>) -> Arc<Identity> {
    Arc::new(Identity { node, cluster_id: cluster.map(str::to_owned), incarnation: 7 })
}

struct Server {
    address: NodeAddress,
    handler: Arc<Echo>,
    task: tokio::task::JoinHandle<()>,
}

async fn server() -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = NodeAddress::new("127.0.0.1", listener.local_addr().unwrap().port());
    let handler = Arc::new(Echo::default());
    let task = tokio::spawn(serve(listener, identity(1, Some("c")), handler.clone()));
    Server { address, handler, task }
}

fn dialer(cluster: Option<&str>) -> Dialer {
    Dialer {
        identity: identity(2, cluster),
        addresses: Arc::new(AddressBook::new(&[])),
        connect_timeout: TIMEOUT,
    }
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

#[tokio::test]
async fn garbage_ends_its_own_connection_only() {
    let server = server().await;
    let to = (server.address.host.clone(), server.address.port);
    let mut stranger = TcpStream::connect(to.clone()).await.unwrap();
    stranger.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    // The end may be a reset, because the rest of the request was not read.
    stranger.read_to_end(&mut Vec::new()).await.ok();

    let mut liar = TcpStream::connect(to).await.unwrap();
    let hello =
        frame::Hello { from: 5, to: 1, channel: Channel::Raft, cluster_id: None, incarnation: 0 };
    frame::write_hello(&mut liar, &hello).await.unwrap();
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
