//! What a connection still has to write: encoded parts in order, gathered into few system calls,
//! with file ranges sent by the kernel once they are in the page cache. Where the connection is
//! encrypted, this process reads them, a portion at a time.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::future::Future;
use std::io::{self, ErrorKind, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use bytes::{Buf, Bytes};
use commitlog::SegmentFile;
use tokio::io::AsyncWrite;
use tokio::net::TcpStream;
use transport::{Stream, UNSENT_BYTES_MAX};
use wire::Part;

use super::sendfile;
use process::BlockingPool;

const SLICES_MAX: usize = 64;
/// A range is looked for in the page cache a chunk at a time, just before the chunk is sent: the
/// kernel may drop pages while a slow consumer drains what came before.
const CHUNK_BYTES: usize = 1 << 20;
/// Of a cold range, this much is read at a time.
const WARM_BYTES: usize = 4 << 20;

thread_local! {
    /// What is read of a file to be encrypted, until it is.
    static SCRATCH: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

struct FilePart {
    file: Arc<SegmentFile>,
    position: u64,
    len: usize,
    /// How many bytes from `position` on were just seen in the page cache, or read into it.
    warm: usize,
}

enum Piece {
    Bytes(Bytes),
    File(FilePart),
}

/// When the response that ends at this position of the stream was ready to be sent.
struct Mark {
    end: u64,
    api: usize,
    ready: Instant,
}

/// The write side's queue.
pub struct Output {
    pieces: VecDeque<Piece>,
    /// Position in the stream of everything queued and everything written so far.
    queued: u64,
    written: u64,
    /// Of what is queued, the bytes that are in memory.
    memory: usize,
    /// The peer has to read before more can be written.
    is_blocked: bool,
    /// Encrypted and not sent yet, perhaps.
    is_unflushed: bool,
    marks: VecDeque<Mark>,
    read_ahead: BlockingPool,
    warming: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
}

impl Output {
    pub fn new(read_ahead: BlockingPool) -> Output {
        Output {
            pieces: VecDeque::new(),
            queued: 0,
            written: 0,
            memory: 0,
            is_blocked: false,
            is_unflushed: false,
            marks: VecDeque::new(),
            read_ahead,
            warming: None,
        }
    }

    pub fn is_empty(&self) -> bool {
        self.pieces.is_empty() && !self.is_unflushed
    }

    /// Bytes queued and not written.
    pub fn pending(&self) -> u64 {
        self.queued - self.written
    }

    /// Bytes of memory that are not written yet.
    pub fn memory(&self) -> usize {
        self.memory + if self.is_unflushed { UNSENT_BYTES_MAX } else { 0 }
    }

    /// Whether it is the peer that everything waits for.
    pub fn is_blocked(&self) -> bool {
        self.is_blocked
    }

    /// Queues one response. An error means that a part is not a file of the log.
    pub fn push(&mut self, parts: Vec<Part>, api: usize) -> io::Result<()> {
        for part in parts {
            self.queued += part.len() as u64;
            match part {
                Part::Bytes(bytes) if bytes.is_empty() => {}
                Part::Bytes(bytes) => {
                    self.memory += bytes.len();
                    self.pieces.push_back(Piece::Bytes(bytes));
                }
                Part::File(range) => {
                    let file = range.file.downcast::<SegmentFile>().map_err(|_| {
                        io::Error::new(ErrorKind::InvalidData, "not a segment file")
                    })?;
                    let (position, len) = (range.position, range.len);
                    let part = FilePart { file, position, len, warm: 0 };
                    self.pieces.push_back(Piece::File(part));
                }
            }
        }
        self.marks.push_back(Mark { end: self.queued, api, ready: Instant::now() });
        Ok(())
    }

    /// Takes the responses that are written in full: their API and when they were ready.
    pub fn sent(&mut self) -> Option<(usize, Instant)> {
        let mark = self.marks.pop_front_if(|mark| mark.end <= self.written)?;
        Some((mark.api, mark.ready))
    }

    /// Writes once. Ready with the number of bytes, 0 when nothing was queued.
    pub fn poll_write(
        &mut self,
        stream: &mut Stream,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        match stream {
            Stream::Plain(tcp) => self.poll_write_plain(tcp, cx),
            tls => self.poll_write_encrypted(tls, cx),
        }
    }

    /// Encrypts one portion, once the one before is sent: so much memory a slow peer holds, and so
    /// long a network thread works for one connection.
    fn poll_write_encrypted(
        &mut self,
        stream: &mut Stream,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        if self.is_unflushed {
            let flushed = Pin::new(&mut *stream).poll_flush(cx);
            self.is_blocked = flushed.is_pending();
            ready!(flushed)?;
            self.is_unflushed = false;
        }
        if self.pieces.is_empty() {
            return Poll::Ready(Ok(0));
        }
        ready!(self.poll_warm(cx));
        let written = match self.pieces.front() {
            Some(Piece::File(part)) => poll_encrypt_file(stream, part, cx),
            _ => {
                let mut slices = [IoSlice::new(&[]); SLICES_MAX];
                let (count, _) = self.gather(&mut slices);
                Pin::new(&mut *stream).poll_write_vectored(cx, &slices[..count])
            }
        };
        let written = ready!(written)?;
        self.is_unflushed = true;
        self.advance(written);
        Poll::Ready(Ok(written))
    }

    fn poll_write_plain(
        &mut self,
        stream: &TcpStream,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        loop {
            if self.pieces.is_empty() {
                return Poll::Ready(Ok(0));
            }
            ready!(self.poll_warm(cx));
            let result = match self.pieces.front() {
                Some(Piece::File(part)) => send_file(stream, part),
                _ => self.write_bytes(stream),
            };
            match result {
                Ok(written) => {
                    self.is_blocked = false;
                    self.advance(written);
                    return Poll::Ready(Ok(written));
                }
                Err(e) if e.kind() == ErrorKind::WouldBlock => {
                    self.is_blocked = true;
                    // However long that takes, the pages may be gone after it.
                    if let Some(Piece::File(part)) = self.pieces.front_mut() {
                        part.warm = 0;
                    }
                    ready!(stream.poll_write_ready(cx))?;
                }
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) => return Poll::Ready(Err(e)),
            }
        }
    }

    /// Waits until the next chunk of the file range at the front, if there is one, is in the page
    /// cache.
    fn poll_warm(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(Piece::File(part)) = self.pieces.front_mut() else { return Poll::Ready(()) };
        if part.warm > 0 {
            return Poll::Ready(());
        }
        let chunk = part.len.min(CHUNK_BYTES);
        if self.warming.is_none() {
            if part.file.is_resident(part.position, chunk) {
                part.warm = chunk;
                return Poll::Ready(());
            }
            let len = part.len.min(WARM_BYTES);
            let warming = self.read_ahead.warm(part.file.clone(), part.position, len);
            self.warming = Some(Box::pin(warming));
        }
        if let Some(warming) = &mut self.warming {
            ready!(warming.as_mut().poll(cx));
        }
        self.warming = None;
        part.warm = chunk;
        Poll::Ready(())
    }

    fn write_bytes(&self, stream: &TcpStream) -> io::Result<usize> {
        let mut slices = [IoSlice::new(&[]); SLICES_MAX];
        let (count, file_follows) = self.gather(&mut slices);
        sendfile::write_some(stream, &slices[..count], file_follows)
    }

    /// The bytes at the front: how many slices, and whether a file range follows them.
    fn gather<'a>(&'a self, slices: &mut [IoSlice<'a>; SLICES_MAX]) -> (usize, bool) {
        let mut count = 0;
        let mut file_follows = false;
        for piece in &self.pieces {
            match piece {
                Piece::Bytes(bytes) if count < SLICES_MAX => {
                    slices[count] = IoSlice::new(bytes);
                    count += 1;
                }
                Piece::Bytes(_) => break,
                Piece::File(_) => {
                    file_follows = true;
                    break;
                }
            }
        }
        (count, file_follows)
    }

    fn advance(&mut self, written: usize) {
        self.written += written as u64;
        let mut left = written;
        while left > 0 {
            let Some(piece) = self.pieces.front_mut() else { return };
            let len = match piece {
                Piece::Bytes(bytes) => bytes.len(),
                Piece::File(part) => part.len,
            };
            if matches!(piece, Piece::Bytes(_)) {
                self.memory -= left.min(len);
            }
            if left >= len {
                left -= len;
                self.pieces.pop_front();
                continue;
            }
            match piece {
                Piece::Bytes(bytes) => bytes.advance(left),
                Piece::File(part) => {
                    part.position += left as u64;
                    part.len -= left;
                    part.warm = part.warm.saturating_sub(left);
                }
            }
            return;
        }
    }
}

fn poll_encrypt_file(
    stream: &mut Stream,
    part: &FilePart,
    cx: &mut Context<'_>,
) -> Poll<io::Result<usize>> {
    let Some(fd) = part.file.as_fd() else { return Poll::Ready(Err(no_descriptor())) };
    SCRATCH.with_borrow_mut(|scratch| {
        scratch.resize(UNSENT_BYTES_MAX, 0);
        let len = part.warm.min(UNSENT_BYTES_MAX);
        match rustix::io::pread(fd, &mut scratch[..len], part.position)? {
            0 => Poll::Ready(Err(truncated())),
            read => Pin::new(stream).poll_write(cx, &scratch[..read]),
        }
    })
}

fn no_descriptor() -> io::Error {
    io::Error::new(ErrorKind::Unsupported, "the segment has no descriptor")
}

/// The range was truncated away after the response was planned: the length prefix is out already,
/// so the connection is of no more use.
fn truncated() -> io::Error {
    io::Error::new(ErrorKind::UnexpectedEof, "the segment was truncated")
}

fn send_file(stream: &TcpStream, part: &FilePart) -> io::Result<usize> {
    let Some(fd) = part.file.as_fd() else { return Err(no_descriptor()) };
    match sendfile::send_some(stream, fd, part.position, part.warm)? {
        0 => Err(truncated()),
        sent => Ok(sent),
    }
}
