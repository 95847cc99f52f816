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
use std::task::{Context, Poll, ready};

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::sync::{AcquireError, OwnedSemaphorePermit};
use wire::ApiKey;
use wire::frame::{self, FrameError};

use super::budget::{Budget, Grant, Ledger, Share};

/// Read at least this much at once. Free of the budget: the number of connections bounds it.
pub const BUFFER_BYTES_MIN: usize = 64 * 1024;
/// A full buffer grows by this factor, up to the end of its frame.
const GROWTH: usize = 4;
/// While memory is scarce, what must come of a frame between two checks.
const HURRIED_BYTES_MIN: usize = 1 << 20;
/// Checks without a byte of a large frame after which its connection ends anyway.
const STILL_CHECKS_MAX: u32 = 6;

type Acquiring = Pin<Box<dyn Future<Output = Result<Grant, AcquireError>> + Send>>;

/// The share of the budget that a frame's memory has, for as long as this is kept.
#[derive(Debug)]
pub struct Lent {
    _permits: Vec<Share>,
    _last: Option<OwnedSemaphorePermit>,
}

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
    permits: Vec<Share>,
    last: Option<OwnedSemaphorePermit>,
    acquiring: Option<Acquiring>,
    pace: Pace,
    /// Nothing ever came.
    is_silent: bool,
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
            permits: Vec::new(),
            last: None,
            acquiring: None,
            pace: Pace::default(),
            is_silent: true,
        }
    }

    /// Whether nothing ever came.
    pub fn is_silent(&self) -> bool {
        self.is_silent
    }

    /// Another limit for frames that have not begun: the client is known now.
    pub fn allow(&mut self, frame_bytes_max: usize) {
        self.frame_bytes_max = frame_bytes_max;
    }

    /// Length of the complete frame (without prefix) at the front, if there is one.
    pub fn frame(&self) -> Result<Option<usize>, FrameError> {
        let length = self.announced()?;
        let received = self.buffer.len().saturating_sub(frame::PREFIX_BYTES);
        Ok(length.filter(|&length| received >= length))
    }

    /// The length that the prefix announces.
    fn announced(&self) -> Result<Option<usize>, FrameError> {
        let Some(prefix) = self.buffer.first_chunk() else { return Ok(None) };
        frame::length(*prefix, self.frame_bytes_max).map(Some)
    }

    /// The key in the header of the frame at the front, as far as it has arrived.
    pub fn key(&self) -> Option<i16> {
        let key = self.buffer.get(frame::PREFIX_BYTES..)?.first_chunk()?;
        Some(i16::from_be_bytes(*key))
    }

    /// What a large frame takes its memory from. Its key is there before it needs any.
    fn ledger(&self) -> &Ledger {
        match self.key() {
            Some(key) if key == ApiKey::Produce.code() => &self.budget.records,
            _ => &self.budget.others,
        }
    }

    /// The buffer, for handling the frame at its front in place.
    pub fn buffer(&mut self) -> &mut BytesMut {
        &mut self.buffer
    }

    /// The frame at the front went away together with its buffer, which somebody keeps: what came
    /// after it is here, and the buffer's share of the budget goes along.
    pub fn replace(&mut self, rest: &[u8]) -> Lent {
        self.pace.is_old = false;
        self.buffer = BytesMut::from(rest);
        Lent { _permits: std::mem::take(&mut self.permits), _last: self.last.take() }
    }

    /// Drops the handled frame of this length.
    pub fn consume(&mut self, length: usize) {
        self.pace.is_old = false;
        bytes::Buf::advance(&mut self.buffer, frame::PREFIX_BYTES + length);
        if self.buffer.is_empty() {
            self.buffer.clear();
            if self.last.is_some() || !self.permits.is_empty() && self.is_scarce() {
                self.release();
            }
        } else if self.last.take().is_some() {
            // The beginning of the next frame moves out of the memory that was lent.
            self.buffer = BytesMut::from(&self.buffer[..]);
            self.permits.clear();
        }
    }

    /// Gives the memory back if nothing is in it.
    pub fn release(&mut self) {
        if self.buffer.is_empty() {
            self.buffer = BytesMut::new();
            self.permits.clear();
            self.last = None;
        }
    }

    fn is_scarce(&self) -> bool {
        self.ledger().is_scarce()
    }

    /// The connection does not read now, for reasons of its own.
    pub fn excuse(&mut self) {
        self.pace.is_excused = true;
    }

    /// To be asked at intervals: whether a frame that occupies shared memory comes too slowly.
    pub fn is_stalled(&mut self) -> bool {
        let is_scarce = self.is_scarce();
        let pace = &mut self.pace;
        let arrived = std::mem::take(&mut pace.arrived);
        let is_excused = std::mem::take(&mut pace.is_excused);
        let was_old = std::mem::replace(&mut pace.is_old, !self.buffer.is_empty());
        if self.permits.is_empty() && self.last.is_none() || !pace.is_old || !was_old || is_excused
        {
            pace.still_checks = 0;
            return false;
        }
        pace.still_checks = if arrived == 0 { pace.still_checks + 1 } else { 0 };
        let is_hurried = self.last.is_some() || is_scarce;
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
                self.is_silent = false;
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
        let held = self.permits.iter().map(Share::bytes).sum();
        let missing = bytes.saturating_sub(held);
        if missing == 0 || self.last.is_some() {
            return Poll::Ready(());
        }
        if self.acquiring.is_none()
            && let Some(permit) = self.ledger().try_acquire(missing)
        {
            self.keep(permit);
            return Poll::Ready(());
        }
        let ledger = self.ledger().clone();
        let acquiring =
            self.acquiring.get_or_insert_with(|| Box::pin(ledger.acquire(missing, held)));
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

    fn keep(&mut self, share: Share) {
        // A buffer that was grown for records may serve another frame: it has shares of both kinds.
        match self.permits.iter_mut().find(|held| held.is_of_same(&share)) {
            Some(held) => held.merge(share),
            None => self.permits.push(share),
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
        assert!(budget.records.is_untouched());
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
        assert!(budget.records.is_untouched());
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

    /// Kafka's limit is one for all APIs: what a client may send elsewhere comes in here too.
    #[tokio::test]
    async fn frames_of_any_kind_may_be_large() {
        let budget = Budget::new(256 * MIB, 100 * MIB);
        let (mut input, mut ours, mut theirs) = connect(&budget);
        let mut frame = frame_of(12 * MIB);
        frame[4..6].copy_from_slice(&ApiKey::SyncGroup.code().to_be_bytes());
        theirs.write_all(&frame).await.unwrap();
        let reading = async {
            loop {
                if let Some(length) = input.frame().unwrap() {
                    return length;
                }
                poll_fn(|cx| input.poll_read(&mut ours, cx)).await.unwrap();
            }
        };
        assert_eq!(within(reading).await, 12 * MIB);
        assert!(budget.records.is_untouched(), "it is no record");
        assert!(!budget.others.is_untouched());
        // Whoever keeps the frame keeps its share.
        let lent = input.replace(b"next");
        assert_eq!(&input.buffer()[..], b"next");
        drop(input);
        assert!(!budget.others.is_untouched());
        drop(lent);
        assert!(budget.others.is_untouched());
    }
}
