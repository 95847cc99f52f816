//! What a connection still has to write: encoded parts in order, gathered into few system calls,
//! with file ranges sent by the kernel once they are in the page cache.

use std::collections::VecDeque;
use std::future::Future;
use std::io::{self, ErrorKind, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use bytes::{Buf, Bytes};
use commitlog::SegmentFile;
use tokio::net::TcpStream;
use wire::Part;

use super::sendfile;
use process::BlockingPool;

const SLICES_MAX: usize = 64;
/// A range is looked for in the page cache a chunk at a time, just before the chunk is sent: the
/// kernel may drop pages while a slow consumer drains what came before.
const CHUNK_BYTES: usize = 1 << 20;
/// Of a cold range, this much is read at a time.
const WARM_BYTES: usize = 4 << 20;

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
            marks: VecDeque::new(),
            read_ahead,
            warming: None,
        }
    }

    pub fn is_empty(&self) -> bool {
        self.pieces.is_empty()
    }

    /// Bytes queued and not written.
    pub fn pending(&self) -> u64 {
        self.queued - self.written
    }

    /// Bytes of memory that are not written yet.
    pub fn memory(&self) -> usize {
        self.memory
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
        sendfile::write_some(stream, &slices[..count], file_follows)
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

fn send_file(stream: &TcpStream, part: &FilePart) -> io::Result<usize> {
    let Some(fd) = part.file.as_fd() else {
        return Err(io::Error::new(ErrorKind::Unsupported, "the segment has no descriptor"));
    };
    match sendfile::send_some(stream, fd, part.position, part.warm)? {
        // The range was truncated away after the response was planned: the length prefix is out
        // already, so the connection is of no more use.
        0 => Err(io::Error::new(ErrorKind::UnexpectedEof, "the segment was truncated")),
        sent => Ok(sent),
    }
}
