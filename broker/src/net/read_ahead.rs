//! The bounded pool that waits for the disk in place of network tasks: it brings a cold range into
//! the page cache before sendfile, or does a cold index lookup. When all threads are busy and the
//! queue is full, the caller waits for a place.

use std::future::Future;
use std::sync::Arc;
use std::thread;

use commitlog::SegmentFile;
use tokio::sync::{mpsc, oneshot};

/// Cold reads keep the disk busy with this many requests at a time.
const THREADS: usize = 4;
const QUEUE_MAX: usize = 256;
const CHUNK_BYTES: usize = 256 * 1024;

type Job = Box<dyn FnOnce(&mut Vec<u8>) + Send>;

/// Handle of the pool; its threads end when the last handle is dropped.
#[derive(Clone, Debug)]
pub struct ReadAhead {
    jobs: mpsc::Sender<Job>,
}

impl ReadAhead {
    pub fn start() -> std::io::Result<ReadAhead> {
        let (jobs, receiver) = mpsc::channel::<Job>(QUEUE_MAX);
        let receiver = Arc::new(parking_lot::Mutex::new(receiver));
        for index in 0..THREADS {
            let receiver = receiver.clone();
            thread::Builder::new().name(format!("read-ahead-{index}")).spawn(move || {
                let mut scratch = Vec::new();
                loop {
                    // One idle thread waits in the channel, the others for the lock.
                    let job = receiver.lock().blocking_recv();
                    match job {
                        Some(job) => job(&mut scratch),
                        None => break,
                    }
                }
            })?;
        }
        Ok(ReadAhead { jobs })
    }

    /// Runs a piece of work that may wait for the disk. `None` when the process is stopping.
    pub fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> impl Future<Output = Option<T>> + Send + 'static {
        let jobs = self.jobs.clone();
        async move {
            let (done, result) = oneshot::channel();
            let job: Job = Box::new(move |_| {
                // The connection may be gone by now.
                let _ = done.send(work());
            });
            jobs.send(job).await.ok()?;
            result.await.ok()
        }
    }

    /// Reads the range once, so that sendfile finds it in the page cache.
    pub fn warm(
        &self,
        file: Arc<SegmentFile>,
        position: u64,
        len: usize,
    ) -> impl Future<Output = ()> + Send + 'static {
        let jobs = self.jobs.clone();
        async move {
            let (done, result) = oneshot::channel();
            let job: Job = Box::new(move |scratch| {
                warm_range(&file, position, len, scratch);
                let _ = done.send(());
            });
            if jobs.send(job).await.is_ok() {
                let _ = result.await;
            }
        }
    }
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
