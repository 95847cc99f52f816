//! The read buffer of a connection. A frame is received into its final place and handled there;
//! large frames take their memory out of one budget for the whole process, and while the budget is
//! used up the connection does not read.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::BytesMut;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::sync::{AcquireError, OwnedSemaphorePermit, Semaphore};
use wire::frame::{self, FrameError};

/// Read at least this much at once. Free of the budget: the number of connections bounds it.
const BUFFER_BYTES_MIN: usize = 64 * 1024;
const PERMIT_BYTES: usize = 1024;

/// The memory that large frames of all connections share.
#[derive(Clone, Debug)]
pub struct Budget {
    semaphore: Arc<Semaphore>,
    permits: usize,
}

impl Budget {
    pub fn new(bytes: usize) -> Budget {
        let permits = (bytes / PERMIT_BYTES).clamp(1, u32::MAX as usize >> 3);
        Budget { semaphore: Arc::new(Semaphore::new(permits)), permits }
    }

    /// Less than a quarter is left: idle buffers should be given back.
    fn is_scarce(&self) -> bool {
        self.semaphore.available_permits() < self.permits / 4
    }

    fn acquire(&self, bytes: usize) -> Acquiring {
        let permits = bytes.div_ceil(PERMIT_BYTES).min(self.permits) as u32;
        Box::pin(self.semaphore.clone().acquire_many_owned(permits))
    }
}

type Acquiring = Pin<Box<dyn Future<Output = Result<OwnedSemaphorePermit, AcquireError>> + Send>>;

/// Why reading ended.
#[derive(Debug, thiserror::Error)]
pub enum InputError {
    #[error("the peer closed the connection")]
    Closed,
    #[error(transparent)]
    Io(#[from] std::io::Error),
    #[error(transparent)]
    Frame(#[from] FrameError),
}

/// Bytes received and not handled yet, with a frame's length prefix at the front.
pub struct Input {
    buffer: BytesMut,
    frame_bytes_max: usize,
    budget: Budget,
    permit: Option<OwnedSemaphorePermit>,
    acquiring: Option<Acquiring>,
}

impl Input {
    pub fn new(frame_bytes_max: usize, budget: Budget) -> Input {
        Input { buffer: BytesMut::new(), frame_bytes_max, budget, permit: None, acquiring: None }
    }

    /// Length of the complete frame (without prefix) at the front, if there is one.
    pub fn frame(&self) -> Result<Option<usize>, FrameError> {
        let Some(prefix) = self.buffer.first_chunk() else { return Ok(None) };
        let length = frame::length(*prefix, self.frame_bytes_max)?;
        Ok((self.buffer.len() - frame::PREFIX_BYTES >= length).then_some(length))
    }

    /// The buffer, for handling the frame at its front in place.
    pub fn buffer(&mut self) -> &mut BytesMut {
        &mut self.buffer
    }

    /// Drops the handled frame of this length.
    pub fn consume(&mut self, length: usize) {
        bytes::Buf::advance(&mut self.buffer, frame::PREFIX_BYTES + length);
        if self.buffer.is_empty() {
            self.buffer.clear();
            if self.permit.is_some() && self.budget.is_scarce() {
                self.release();
            }
        }
    }

    /// Gives the memory back if nothing is in it.
    pub fn release(&mut self) {
        if self.buffer.is_empty() {
            self.buffer = BytesMut::new();
            self.permit = None;
        }
    }

    /// Receives once. Ready when bytes arrived (or the connection ended).
    pub fn poll_read(
        &mut self,
        stream: &mut TcpStream,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), InputError>> {
        ready!(self.poll_reserve(cx))?;
        // Built anew for each poll, as it keeps no state. Unlike `try_read_buf` it knows that a
        // short read emptied the socket, which saves the call that would say so.
        let read = std::pin::pin!(stream.read_buf(&mut self.buffer));
        match ready!(read.poll(cx))? {
            0 => Poll::Ready(Err(InputError::Closed)),
            _ => Poll::Ready(Ok(())),
        }
    }

    /// Makes room for the rest of the frame that has begun, or for the next read.
    fn poll_reserve(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), InputError>> {
        let wanted = match self.buffer.first_chunk() {
            Some(prefix) => frame::PREFIX_BYTES + frame::length(*prefix, self.frame_bytes_max)?,
            None => BUFFER_BYTES_MIN,
        };
        let held = self.buffer.capacity();
        if wanted <= held && held > self.buffer.len() {
            return Poll::Ready(Ok(()));
        }
        if wanted > BUFFER_BYTES_MIN {
            ready!(self.poll_acquire(wanted, cx));
        }
        let additional = wanted.max(BUFFER_BYTES_MIN) - self.buffer.len();
        self.buffer.reserve(additional);
        Poll::Ready(Ok(()))
    }

    fn poll_acquire(&mut self, bytes: usize, cx: &mut Context<'_>) -> Poll<()> {
        let needed = bytes.div_ceil(PERMIT_BYTES).min(self.budget.permits);
        if self.permit.as_ref().is_some_and(|permit| permit.num_permits() >= needed) {
            return Poll::Ready(());
        }
        // What was held for a smaller frame goes back first: holding it while waiting for more
        // could let connections wait for each other for ever.
        self.permit = None;
        let acquiring = self.acquiring.get_or_insert_with(|| self.budget.acquire(bytes));
        let permit = ready!(acquiring.as_mut().poll(cx));
        self.acquiring = None;
        self.permit = permit.ok();
        Poll::Ready(())
    }
}
