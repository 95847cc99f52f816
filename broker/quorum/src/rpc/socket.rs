//! What both ends of a connection do alike.

use std::io;

use tokio::io::{AsyncWriteExt, BufWriter};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use transport::WriteHalf;

use super::frame::{self, Frame};

/// Unacknowledged bytes for this long end the connection: the peer's host is gone.
const USER_TIMEOUT_MS: u32 = 5_000;

/// Why a connection could not be made.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// Nobody listens there: the host answered, the process is gone.
    #[error("connection refused")]
    Refused,
    /// Accepted and closed before the handshake: a process that is ending, or starting.
    #[error("the connection was closed during the handshake: {0}")]
    Closed(io::Error),
    #[error("no answer in time")]
    Timeout,
    /// The peer is alive and does not want this connection.
    #[error("{0}")]
    Unwelcome(String),
    /// The certificate of either end is not believed by the other, or the peer speaks no TLS.
    #[error("the TLS handshake failed: {0}")]
    Tls(io::Error),
    #[error("{0}")]
    Io(io::Error),
}

impl ConnectError {
    /// A process that ends closes what it has not accepted yet: that is no refusal.
    pub(super) fn of_tls(error: io::Error) -> ConnectError {
        use io::ErrorKind::{BrokenPipe, ConnectionReset, UnexpectedEof};
        match error.kind() {
            BrokenPipe | ConnectionReset | UnexpectedEof => ConnectError::Closed(error),
            _ => ConnectError::Tls(error),
        }
    }
}

/// Small frames must not wait for each other, and a dead host must not be waited for.
pub(super) fn tune(stream: &TcpStream) {
    let tuned = stream.set_nodelay(true).and_then(|()| {
        rustix::net::sockopt::set_tcp_user_timeout(stream, USER_TIMEOUT_MS).map_err(Into::into)
    });
    if let Err(error) = tuned {
        tracing::debug!(%error, "socket options of an internal connection");
    }
}

/// Writes what comes, and flushes whenever nothing waits.
pub(super) async fn write_frames(
    writer: WriteHalf,
    protocol: u8,
    queue: &mut mpsc::Receiver<Frame>,
) -> io::Result<()> {
    let mut writer = BufWriter::new(writer);
    while let Some(frame) = queue.recv().await {
        frame::write_frame(&mut writer, &frame, protocol).await?;
        while let Ok(frame) = queue.try_recv() {
            frame::write_frame(&mut writer, &frame, protocol).await?;
        }
        writer.flush().await?;
    }
    Ok(())
}
