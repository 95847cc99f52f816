//! A bounded pool of threads that block in place of network tasks: it brings a cold range into
//! the page cache before sendfile, or does a cold index lookup. When all threads are busy and the
//! queue is full, the caller waits until half of it is free and tries again: a place is never given
//! to a caller that may not be polled for long, as a fetch behind others on its connection is not.

use std::future::Future;
use std::sync::Arc;
use std::thread;

use commitlog::SegmentFile;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{Notify, mpsc, oneshot};

use crate::{simulation, task};

const QUEUE_MAX: usize = 256;
const CHUNK_BYTES: usize = 256 * 1024;

type Job = Box<dyn FnOnce(&mut Vec<u8>) + Send>;

/// Handle of the pool; its threads end when the last handle is dropped.
#[derive(Clone, Debug)]
pub struct BlockingPool {
    jobs: mpsc::Sender<Job>,
    /// Told when half of a full queue is free again. Nobody owns what it tells of.
    room: Arc<Notify>,
}

impl BlockingPool {
    /// A pool of so many threads: as many cold reads keep the disk busy at a time.
    pub fn start(name: &str, threads: usize) -> std::io::Result<BlockingPool> {
        let (jobs, receiver) = mpsc::channel::<Job>(QUEUE_MAX);
        let receiver = Arc::new(parking_lot::Mutex::new(receiver));
        let room = Arc::new(Notify::new());
        for index in 0..threads {
            let (receiver, room) = (receiver.clone(), room.clone());
            thread::Builder::new().name(format!("{name}-{index}")).spawn(move || {
                let mut scratch = Vec::new();
                while let Some(job) = next_job(&receiver, &room) {
                    job(&mut scratch);
                }
            })?;
        }
        Ok(BlockingPool { jobs, room })
    }

    /// Queues a job. False when the process is stopping.
    async fn submit(self, mut job: Job) -> bool {
        loop {
            let mut room = std::pin::pin!(self.room.notified());
            // Registered before the attempt, so that no room is missed that comes in between.
            room.as_mut().enable();
            job = match self.jobs.try_send(job) {
                Ok(()) => return true,
                Err(TrySendError::Closed(_)) => return false,
                Err(TrySendError::Full(job)) => job,
            };
            room.await;
        }
    }

    /// Runs a piece of work that may wait for the disk. `None` when the process is stopping.
    pub fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> impl Future<Output = Option<T>> + Send + 'static {
        let pool = self.clone();
        async move {
            if simulation::current().is_some() {
                return task::blocking(work).await;
            }
            let (done, result) = oneshot::channel();
            let job: Job = Box::new(move |_| {
                // The connection may be gone by now.
                let _ = done.send(work());
            });
            match pool.submit(job).await {
                true => result.await.ok(),
                false => None,
            }
        }
    }

    /// Reads the range once, so that sendfile finds it in the page cache.
    pub fn warm(
        &self,
        file: Arc<SegmentFile>,
        position: u64,
        len: usize,
    ) -> impl Future<Output = ()> + Send + 'static {
        let pool = self.clone();
        async move {
            let (done, result) = oneshot::channel();
            let job: Job = Box::new(move |scratch| {
                warm_range(&file, position, len, scratch);
                let _ = done.send(());
            });
            if pool.submit(job).await {
                let _ = result.await;
            }
        }
    }
}

fn next_job(receiver: &parking_lot::Mutex<mpsc::Receiver<Job>>, room: &Notify) -> Option<Job> {
    // One idle thread waits in the channel, the others for the lock.
    let mut receiver = receiver.lock();
    let job = receiver.blocking_recv()?;
    // Seen on the way down from a full queue, as each thread looks after each job. Not at every
    // job: those who wait are woken all together.
    if receiver.len() == QUEUE_MAX / 2 {
        room.notify_waiters();
    }
    Some(job)
}

fn warm_range(file: &SegmentFile, position: u64, len: usize, scratch: &mut Vec<u8>) {
    file.will_need(position, len);
    scratch.resize(CHUNK_BYTES, 0);
    let end = position + len as u64;
    let mut at = position;
    while at < end {
        let chunk = CHUNK_BYTES.min((end - at) as usize);
        match file.read_at(&mut scratch[..chunk], at) {
            // An error here comes back from sendfile, where it ends the connection.
            Ok(0) | Err(_) => break,
            Ok(read) => at += read as u64,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::pin::Pin;
    use std::task::{Context, Waker};
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn callers_that_are_not_polled_keep_no_place_from_others() {
        let pool = BlockingPool::start("test", 1).unwrap();
        let (go, wait) = std::sync::mpsc::sync_channel::<()>(1);
        let mut cx = Context::from_waker(Waker::noop());
        let mut unpolled: Vec<Pin<Box<dyn Future<Output = Option<()>> + Send>>> = Vec::new();
        unpolled.push(Box::pin(pool.run(move || wait.recv().unwrap())));
        for _ in 0..3 * QUEUE_MAX {
            unpolled.push(Box::pin(pool.run(|| ())));
        }
        for caller in &mut unpolled {
            assert!(caller.as_mut().poll(&mut cx).is_pending());
        }
        let waiting = pool.run(|| 7);
        go.send(()).unwrap();
        let done = tokio::time::timeout(Duration::from_secs(20), waiting).await;
        assert_eq!(done.expect("the queue is free again"), Some(7));
    }
}
