//! Accepting HTTP connections: so many at a time, each for a bounded time without progress. Probes
//! and scrapes are a few small requests; whoever opens more, or leaves them half said, must not
//! keep descriptors and tasks of a broker, nor a probe out: the oldest connection gives way.

use std::collections::VecDeque;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::serve::Listener;
use futures::task::AtomicWaker;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, Sleep};

const CONNECTIONS_MAX: usize = 64;
/// Between two bytes of a connection, in either direction. A scraper keeps its connection open
/// between scrapes, which are less than a minute apart as a rule, and opens another one if not.
const STILL_MAX: Duration = Duration::from_secs(60);
/// The pause after a failed accept (no descriptors left), so that it is not tried in a loop.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// How a connection is told that its place is needed.
#[derive(Default)]
struct Place {
    is_evicted: AtomicBool,
    waker: AtomicWaker,
}

/// A listener with a bounded number of connections.
pub(super) struct Limited {
    listener: TcpListener,
    /// Oldest first.
    open: VecDeque<Weak<Place>>,
    connections_max: usize,
    still_max: Duration,
}

impl Limited {
    pub(super) fn new(listener: TcpListener) -> Limited {
        Limited::with(listener, CONNECTIONS_MAX, STILL_MAX)
    }

    fn with(listener: TcpListener, connections_max: usize, still_max: Duration) -> Limited {
        Limited { listener, open: VecDeque::new(), connections_max, still_max }
    }

    fn place(&mut self) -> Arc<Place> {
        self.open.retain(|place| place.strong_count() > 0);
        if self.open.len() >= self.connections_max
            && let Some(oldest) = self.open.pop_front().and_then(|place| place.upgrade())
        {
            oldest.is_evicted.store(true, Ordering::Release);
            oldest.waker.wake();
        }
        let place = Arc::new(Place::default());
        self.open.push_back(Arc::downgrade(&place));
        place
    }
}

impl Listener for Limited {
    type Io = Timed;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Timed, SocketAddr) {
        loop {
            match self.listener.accept().await {
                Ok((stream, peer)) => {
                    return (Timed::new(stream, self.place(), self.still_max), peer);
                }
                Err(error) => {
                    tracing::warn!(%error, "accept an http connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

/// A connection that ends when nothing moves for too long.
pub(super) struct Timed {
    stream: TcpStream,
    still_max: Duration,
    timeout: Pin<Box<Sleep>>,
    place: Arc<Place>,
}

impl Timed {
    fn new(stream: TcpStream, place: Arc<Place>, still_max: Duration) -> Timed {
        let timeout = Box::pin(tokio::time::sleep(still_max));
        Timed { stream, still_max, timeout, place }
    }

    /// Puts the end off if something moved, and ends the connection if it is time.
    fn watch<T>(
        &mut self,
        polled: Poll<io::Result<T>>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<T>> {
        self.place.waker.register(cx.waker());
        if self.place.is_evicted.load(Ordering::Acquire) {
            return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
        }
        if polled.is_ready() {
            self.timeout.as_mut().reset(Instant::now() + self.still_max);
        } else if self.timeout.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        polled
    }
}

impl AsyncRead for Timed {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.stream).poll_read(cx, buf);
        self.watch(polled, cx)
    }
}

impl AsyncWrite for Timed {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.watch(polled, cx)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write_vectored(cx, slices);
        self.watch(polled, cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use axum::Router;
    use axum::routing::get;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    /// An application that says it is ready.
    async fn serve(connections_max: usize, still_max: Duration) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let limited = Limited::with(listener, connections_max, still_max);
        let app = Router::new().route("/readyz", get(|| async { "ready" }));
        tokio::spawn(async move { axum::serve(limited, app).await });
        address
    }

    async fn probe(address: SocketAddr) -> String {
        const REQUEST: &[u8] = b"GET /readyz HTTP/1.1\r\nhost: b\r\nconnection: close\r\n\r\n";
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(REQUEST).await.unwrap();
        let mut answer = String::new();
        let answered = stream.read_to_string(&mut answer);
        tokio::time::timeout(Duration::from_secs(20), answered).await.unwrap().unwrap();
        answer
    }

    /// Half a request, and nothing more.
    async fn begin(address: SocketAddr) -> TcpStream {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(b"GET /readyz HT").await.unwrap();
        stream
    }

    async fn until_closed(stream: &mut TcpStream) {
        let mut rest = Vec::new();
        let closed = stream.read_to_end(&mut rest);
        // Closed or reset.
        let _ = tokio::time::timeout(Duration::from_secs(20), closed).await.unwrap();
    }

    #[tokio::test]
    async fn connections_that_say_nothing_keep_no_probe_out() {
        let address = serve(2, Duration::from_secs(3600)).await;
        let (mut first, mut second) = (begin(address).await, begin(address).await);
        assert!(probe(address).await.ends_with("ready"));
        until_closed(&mut first).await;
        second.write_all(b"TP/1.1\r\nhost: b\r\nconnection: close\r\n\r\n").await.unwrap();
        let mut answer = String::new();
        second.read_to_string(&mut answer).await.unwrap();
        assert!(answer.ends_with("ready"), "{answer}");
    }

    #[tokio::test]
    async fn connections_that_stand_still_end() {
        let address = serve(8, Duration::from_millis(200)).await;
        until_closed(&mut begin(address).await).await;
        until_closed(&mut TcpStream::connect(address).await.unwrap()).await;
    }
}
