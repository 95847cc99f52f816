//! The read buffer of a connection. A frame is received into its final place and handled there;
//! large frames take their memory out of one budget for the whole process, as their bytes arrive,
//! and while the budget is used up the connection does not read.
//!
//! What a frame announces costs nothing: a buffer grows to a few times what has come. Connections
//! hold memory while they wait for more, so one of them at a time may go beyond the budget to the
//! end of its frame; that share is set aside. Who has it, or holds memory while it is scarce, must
//! keep up a pace, and the connection ends otherwise.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::sync::{AcquireError, OwnedSemaphorePermit, Semaphore};
use wire::ApiKey;
use wire::frame::{self, FrameError};

/// Read at least this much at once. Free of the budget: the number of connections bounds it.
const BUFFER_BYTES_MIN: usize = 64 * 1024;
/// A full buffer grows by this factor, up to the end of its frame.
const GROWTH: usize = 4;
const PERMIT_BYTES: usize = 1024;
/// Only records need large frames. Everything else is decoded into values that take several times
/// the bytes of the frame; the largest that clients have reason to send (a full fetch or an offset
/// commit of 100,000 partitions, 10,000 topics to create) stays well below this.
pub const OTHER_FRAME_BYTES_MAX: usize = 8 << 20;
/// While memory is scarce, what must come of a frame between two checks.
const HURRIED_BYTES_MIN: usize = 1 << 20;
/// Checks without a byte of a large frame after which its connection ends anyway.
const STILL_CHECKS_MAX: u32 = 6;

/// The memory that large frames of all connections share.
#[derive(Clone, Debug)]
pub struct Budget {
    shared: Arc<Semaphore>,
    permits: usize,
    /// One permit: its holder may take what its frame needs.
    last: Arc<Semaphore>,
}

/// What a connection may use.
enum Grant {
    Shared(OwnedSemaphorePermit),
    Last(OwnedSemaphorePermit),
}

impl Budget {
    /// A budget of which one frame of the largest size, but no more than half, is set aside.
    pub fn new(bytes: usize, frame_bytes_max: usize) -> Budget {
        let shared = bytes - frame_bytes_max.min(bytes / 2);
        let permits = (shared / PERMIT_BYTES).clamp(1, u32::MAX as usize >> 3);
        let last = Arc::new(Semaphore::new(1));
        Budget { shared: Arc::new(Semaphore::new(permits)), permits, last }
    }

    /// Less than a quarter is left: idle buffers should be given back.
    fn is_scarce(&self) -> bool {
        self.shared.available_permits() < self.permits / 4
    }

    fn try_acquire(&self, permits: usize) -> Option<OwnedSemaphorePermit> {
        self.shared.clone().try_acquire_many_owned(u32::try_from(permits).ok()?).ok()
    }

    /// Waits for so many permits, if there can be as many, or for the right to go without.
    async fn acquire(self, permits: usize, held: usize) -> Result<Grant, AcquireError> {
        let last = self.last.acquire_owned();
        match u32::try_from(permits) {
            Ok(count) if permits + held <= self.permits => tokio::select! {
                biased;
                shared = self.shared.acquire_many_owned(count) => shared.map(Grant::Shared),
                last = last => last.map(Grant::Last),
            },
            _ => last.await.map(Grant::Last),
        }
    }
}

type Acquiring = Pin<Box<dyn Future<Output = Result<Grant, AcquireError>> + Send>>;

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
    last: Option<OwnedSemaphorePermit>,
    acquiring: Option<Acquiring>,
    pace: Pace,
}

/// How the frame at the front comes, between two checks.
#[derive(Debug, Default)]
struct Pace {
    arrived: usize,
    /// It had begun at the last check.
    is_old: bool,
    /// The broker kept it from coming.
    is_excused: bool,
    still_checks: u32,
}

impl Input {
    pub fn new(frame_bytes_max: usize, budget: Budget) -> Input {
        Input {
            buffer: BytesMut::new(),
            frame_bytes_max,
            budget,
            permit: None,
            last: None,
            acquiring: None,
            pace: Pace::default(),
        }
    }

    /// Length of the complete frame (without prefix) at the front, if there is one.
    pub fn frame(&self) -> Result<Option<usize>, FrameError> {
        let length = self.announced()?;
        let received = self.buffer.len().saturating_sub(frame::PREFIX_BYTES);
        Ok(length.filter(|&length| received >= length))
    }

    /// The length that the prefix announces, within what a frame of its kind may have.
    fn announced(&self) -> Result<Option<usize>, FrameError> {
        let Some(prefix) = self.buffer.first_chunk() else { return Ok(None) };
        let length = frame::length(*prefix, self.frame_bytes_max)?;
        if length > OTHER_FRAME_BYTES_MAX
            && let Some(key) = self.buffer[frame::PREFIX_BYTES..].first_chunk()
            && i16::from_be_bytes(*key) != ApiKey::Produce.code()
        {
            return Err(FrameError::TooLarge { length, frame_bytes_max: OTHER_FRAME_BYTES_MAX });
        }
        Ok(Some(length))
    }

    /// The buffer, for handling the frame at its front in place.
    pub fn buffer(&mut self) -> &mut BytesMut {
        &mut self.buffer
    }

    /// Drops the handled frame of this length.
    pub fn consume(&mut self, length: usize) {
        self.pace.is_old = false;
        bytes::Buf::advance(&mut self.buffer, frame::PREFIX_BYTES + length);
        if self.buffer.is_empty() {
            self.buffer.clear();
            if self.last.is_some() || self.permit.is_some() && self.budget.is_scarce() {
                self.release();
            }
        } else if self.last.take().is_some() {
            // The beginning of the next frame moves out of the memory that was lent.
            self.buffer = BytesMut::from(&self.buffer[..]);
            self.permit = None;
        }
    }

    /// Gives the memory back if nothing is in it.
    pub fn release(&mut self) {
        if self.buffer.is_empty() {
            self.buffer = BytesMut::new();
            self.permit = None;
            self.last = None;
        }
    }

    /// The connection does not read now, for reasons of its own.
    pub fn excuse(&mut self) {
        self.pace.is_excused = true;
    }

    /// To be asked at intervals: whether a frame that occupies shared memory comes too slowly.
    pub fn is_stalled(&mut self) -> bool {
        let pace = &mut self.pace;
        let arrived = std::mem::take(&mut pace.arrived);
        let is_excused = std::mem::take(&mut pace.is_excused);
        let was_old = std::mem::replace(&mut pace.is_old, !self.buffer.is_empty());
        if self.permit.is_none() && self.last.is_none() || !pace.is_old || !was_old || is_excused {
            pace.still_checks = 0;
            return false;
        }
        pace.still_checks = if arrived == 0 { pace.still_checks + 1 } else { 0 };
        let is_hurried = self.last.is_some() || self.budget.is_scarce();
        is_hurried && arrived < HURRIED_BYTES_MIN || pace.still_checks >= STILL_CHECKS_MAX
    }

    /// Receives once. Ready when bytes arrived (or the connection ended).
    pub fn poll_read(
        &mut self,
        stream: &mut (impl AsyncRead + Unpin),
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), InputError>> {
        ready!(self.poll_reserve(cx))?;
        // Built anew for each poll, as it keeps no state. Unlike `try_read_buf` it knows that a
        // short read emptied the socket, which saves the call that would say so.
        let read = std::pin::pin!(stream.read_buf(&mut self.buffer));
        match ready!(read.poll(cx))? {
            0 => Poll::Ready(Err(InputError::Closed)),
            read => {
                self.pace.arrived += read;
                Poll::Ready(Ok(()))
            }
        }
    }

    /// Makes room for more of the frame that has begun, or for the next read.
    fn poll_reserve(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), InputError>> {
        let wanted = match self.announced()? {
            Some(length) => frame::PREFIX_BYTES + length,
            None => BUFFER_BYTES_MIN,
        };
        let (len, capacity) = (self.buffer.len(), self.buffer.capacity());
        if len < capacity && (len >= BUFFER_BYTES_MIN || capacity >= wanted.min(BUFFER_BYTES_MIN)) {
            return Poll::Ready(Ok(()));
        }
        let mut target = wanted.min(len * GROWTH).max(BUFFER_BYTES_MIN);
        if target > BUFFER_BYTES_MIN {
            ready!(self.poll_acquire(target, cx));
            if self.last.is_some() {
                target = wanted;
            }
        }
        // More than nothing, whatever was announced.
        self.buffer.reserve(target.saturating_sub(len).max(1));
        Poll::Ready(Ok(()))
    }

    fn poll_acquire(&mut self, bytes: usize, cx: &mut Context<'_>) -> Poll<()> {
        let held = self.permit.as_ref().map_or(0, OwnedSemaphorePermit::num_permits);
        let missing = bytes.div_ceil(PERMIT_BYTES).saturating_sub(held);
        if missing == 0 || self.last.is_some() {
            return Poll::Ready(());
        }
        if self.acquiring.is_none()
            && let Some(permit) = self.budget.try_acquire(missing)
        {
            self.keep(permit);
            return Poll::Ready(());
        }
        let budget = &self.budget;
        let acquiring =
            self.acquiring.get_or_insert_with(|| Box::pin(budget.clone().acquire(missing, held)));
        let Poll::Ready(granted) = acquiring.as_mut().poll(cx) else {
            self.pace.is_excused = true;
            return Poll::Pending;
        };
        self.acquiring = None;
        match granted {
            Ok(Grant::Shared(permit)) => self.keep(permit),
            Ok(Grant::Last(permit)) => self.last = Some(permit),
            // The budget is never closed.
            Err(_) => {}
        }
        Poll::Ready(())
    }

    fn keep(&mut self, permit: OwnedSemaphorePermit) {
        match &mut self.permit {
            Some(held) => held.merge(permit),
            None => self.permit = Some(permit),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::future::poll_fn;
    use std::time::Duration;

    use tokio::io::{AsyncWriteExt, DuplexStream, duplex};
    use tokio::time::timeout;

    use super::*;

    const MIB: usize = 1 << 20;

    /// A connection's input and the client's end of it.
    fn connect(budget: &Budget) -> (Input, DuplexStream, DuplexStream) {
        let (ours, theirs) = duplex(16 * MIB);
        (Input::new(100 * MIB, budget.clone()), ours, theirs)
    }

    /// A Produce frame.
    fn frame_of(length: usize) -> Vec<u8> {
        [&(length as u32).to_be_bytes()[..], &vec![0; length]].concat()
    }

    async fn read_frame(input: &mut Input, stream: &mut DuplexStream) -> usize {
        loop {
            if let Some(length) = input.frame().unwrap() {
                input.consume(length);
                return length;
            }
            poll_fn(|cx| input.poll_read(stream, cx)).await.unwrap();
        }
    }

    /// Reads what is there.
    fn read_all(input: &mut Input, stream: &mut DuplexStream) {
        let mut cx = Context::from_waker(std::task::Waker::noop());
        while let Poll::Ready(read) = input.poll_read(stream, &mut cx) {
            read.unwrap();
        }
    }

    async fn within<T>(work: impl Future<Output = T>) -> T {
        timeout(Duration::from_secs(20), work).await.expect("the budget is wedged")
    }

    #[tokio::test]
    async fn what_is_only_announced_takes_nothing() {
        let budget = Budget::new(256 * MIB, 100 * MIB);
        let mut idle = Vec::new();
        for _ in 0..20 {
            let (mut input, mut ours, mut theirs) = connect(&budget);
            theirs.write_all(&(100 * MIB as u32).to_be_bytes()).await.unwrap();
            read_all(&mut input, &mut ours);
            idle.push((input, ours, theirs));
        }
        let (mut input, mut ours, mut theirs) = connect(&budget);
        theirs.write_all(&frame_of(10 * MIB)).await.unwrap();
        assert_eq!(within(read_frame(&mut input, &mut ours)).await, 10 * MIB);
    }

    #[tokio::test]
    async fn frames_that_wait_for_each_other_all_come_to_their_end() {
        let budget = Budget::new(4 * MIB, 100 * MIB);
        let mut all = Vec::new();
        for _ in 0..5 {
            let (mut input, mut ours, mut theirs) = connect(&budget);
            let frame = frame_of(3 * MIB);
            theirs.write_all(&frame[..MIB]).await.unwrap();
            read_all(&mut input, &mut ours);
            theirs.write_all(&frame[MIB..]).await.unwrap();
            all.push((input, ours, theirs));
        }
        let reads = all.iter_mut().map(|(input, ours, _)| read_frame(input, ours));
        let lengths = within(futures::future::join_all(reads)).await;
        assert_eq!(lengths, [3 * MIB; 5]);
        // Idle buffers give theirs back when asked.
        for (input, ..) in &mut all {
            input.release();
        }
        assert_eq!(budget.shared.available_permits(), budget.permits);
        assert_eq!(budget.last.available_permits(), 1);
    }

    #[tokio::test]
    async fn a_frame_larger_than_the_budget_comes_too() {
        let budget = Budget::new(2 * MIB, 100 * MIB);
        let (mut input, mut ours, mut theirs) = connect(&budget);
        // With the beginning of the next one behind it.
        theirs.write_all(&[frame_of(5 * MIB), frame_of(9)].concat()).await.unwrap();
        assert_eq!(within(read_frame(&mut input, &mut ours)).await, 5 * MIB);
        assert_eq!(within(read_frame(&mut input, &mut ours)).await, 9);
        input.release();
        assert_eq!(budget.last.available_permits(), 1);
    }

    #[tokio::test]
    async fn a_frame_that_stands_still_ends_soon_where_memory_is_scarce() {
        for (bytes, checks) in [(256 * MIB, STILL_CHECKS_MAX + 1), (2 * MIB, 2)] {
            let budget = Budget::new(bytes, 100 * MIB);
            let (mut input, mut ours, mut theirs) = connect(&budget);
            theirs.write_all(&frame_of(MIB)[..MIB]).await.unwrap();
            read_all(&mut input, &mut ours);
            let stalled = (1..100).find(|_| input.is_stalled());
            assert_eq!(stalled, Some(checks), "{bytes}");
        }
    }

    #[tokio::test]
    async fn a_frame_that_may_not_come_is_not_blamed() {
        let budget = Budget::new(2 * MIB, 100 * MIB);
        let (mut input, mut ours, mut theirs) = connect(&budget);
        theirs.write_all(&frame_of(MIB)[..MIB]).await.unwrap();
        read_all(&mut input, &mut ours);
        for _ in 0..20 {
            input.excuse();
            assert!(!input.is_stalled());
        }
    }

    #[tokio::test]
    async fn only_records_need_large_frames() {
        let budget = Budget::new(256 * MIB, 100 * MIB);
        for (key, is_fine) in [(ApiKey::Produce, true), (ApiKey::DescribeGroups, false)] {
            let (mut input, mut ours, mut theirs) = connect(&budget);
            theirs.write_all(&(OTHER_FRAME_BYTES_MAX as u32 + 1).to_be_bytes()).await.unwrap();
            theirs.write_all(&key.code().to_be_bytes()).await.unwrap();
            poll_fn(|cx| input.poll_read(&mut ours, cx)).await.unwrap();
            assert_eq!(input.frame().is_ok(), is_fine, "{key}");
        }
    }
}
