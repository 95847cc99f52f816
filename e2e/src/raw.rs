//! Bytes to a broker without a client in between: for requests that no client would send.

use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use wire::{Message, Part, Reader, Request};

use crate::wait;

/// Without another byte for so long, a socket is full.
const STILL: Duration = Duration::from_millis(300);
/// For the rest of a frame whose length came.
const REST: Duration = Duration::from_secs(10);

/// What a broker did with what it was sent.
#[derive(Debug)]
pub enum Answer {
    /// A frame, without its length.
    Frame(Vec<u8>),
    Closed,
    /// Nothing within the time limit, the connection still open.
    Silence,
}

#[derive(Debug)]
pub struct Raw {
    stream: TcpStream,
}

impl Raw {
    pub fn connect(addr: &str) -> Result<Raw> {
        let addr: SocketAddr = addr.parse()?;
        let stream = TcpStream::connect_timeout(&addr, Duration::from_secs(5))?;
        stream.set_nodelay(true)?;
        stream.set_write_timeout(Some(Duration::from_secs(5)))?;
        Ok(Raw { stream })
    }

    /// The same from another address of this machine: who a client is to rules for hosts.
    pub fn connect_from(own: &str, addr: &str) -> Result<Raw> {
        let (own, addr): (IpAddr, SocketAddr) = (own.parse()?, addr.parse()?);
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None)?;
        socket.bind(&SocketAddr::new(own, 0).into())?;
        socket.connect_timeout(&addr.into(), Duration::from_secs(5))?;
        socket.set_tcp_nodelay(true)?;
        let stream = TcpStream::from(socket);
        stream.set_write_timeout(Some(Duration::from_secs(5)))?;
        Ok(Raw { stream })
    }

    /// Sends bytes as they are. A broker that has closed already refuses them, and that is no
    /// failure here.
    pub fn send(&mut self, bytes: &[u8]) {
        let _ = self.stream.write_all(bytes);
    }

    /// Sends a frame: the length, then the bytes.
    pub fn send_frame(&mut self, bytes: &[u8]) -> Result<()> {
        let length = u32::try_from(bytes.len())?;
        self.send(&[&length.to_be_bytes()[..], bytes].concat());
        Ok(())
    }

    /// Waits until the other side has sent all that fits between the two: more only comes once it
    /// is read. A side that reads its files from a slow disk pauses, too, but not for that long.
    pub fn wait_full(&self) -> Result<()> {
        let (mut seen, mut since) = (0, Instant::now());
        wait::until("a full socket", Duration::from_secs(10), || {
            let unread = rustix::io::ioctl_fionread(&self.stream)?;
            if unread != std::mem::replace(&mut seen, unread) {
                since = Instant::now();
            }
            Ok((unread > 0 && since.elapsed() >= STILL).then_some(()))
        })
    }

    /// Bytes that came and were not read yet.
    pub fn unread(&self) -> Result<u64> {
        Ok(rustix::io::ioctl_fionread(&self.stream)?)
    }

    /// The next frame, which must begin within the limit. What has begun comes in its own time.
    pub fn answer(&mut self, limit: Duration) -> Result<Answer> {
        self.stream.set_read_timeout(Some(limit))?;
        let mut prefix = [0; 4];
        match self.stream.read_exact(&mut prefix) {
            Ok(()) => {}
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                return Ok(Answer::Silence);
            }
            Err(_) => return Ok(Answer::Closed),
        }
        let length = usize::try_from(u32::from_be_bytes(prefix))?;
        anyhow::ensure!(length <= 100 << 20, "an answer of {length} bytes");
        self.stream.set_read_timeout(Some(REST))?;
        let mut frame = vec![0; length];
        self.stream.read_exact(&mut frame)?;
        Ok(Answer::Frame(frame))
    }

    /// One well-formed call.
    pub fn call<R: Request>(
        &mut self,
        request: &R,
        version: i16,
        limit: Duration,
    ) -> Result<R::Response> {
        self.send(&encode(request, version, 1)?);
        match self.answer(limit)? {
            Answer::Frame(frame) => decode::<R>(frame, version),
            other => anyhow::bail!("no answer to {}: {other:?}", R::NAME),
        }
    }
}

/// A whole frame with the request.
pub fn encode<R: Request>(request: &R, version: i16, correlation_id: i32) -> Result<Vec<u8>> {
    let parts = wire::encode_request(request, version, correlation_id, Some("raw".into()))?;
    let mut bytes = Vec::new();
    for part in parts {
        match part {
            Part::Bytes(part) => bytes.extend_from_slice(&part),
            Part::File(_) => anyhow::bail!("a request holds no file range"),
        }
    }
    Ok(bytes)
}

pub fn decode<R: Request>(frame: Vec<u8>, version: i16) -> Result<R::Response> {
    let mut reader = Reader::new(frame);
    let header = R::KEY.response_header_version(version);
    wire::header::ResponseHeader::decode(&mut reader, header).context("response header")?;
    Ok(R::Response::decode(&mut reader, version)?)
}
