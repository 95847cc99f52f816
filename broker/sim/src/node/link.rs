//! Both ends of a connection between a follower and its leader: the real fetch loop and the real
//! server of fetches, with the world's network in between.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;

use base::BrokerId;
use bytes::Bytes;
use commitlog::SegmentFile;
use storage::fetch::{Fetch, FetchServer, Reader};
use storage::follower::{Dial, FetchError, FetchLink};
use wire::Records;
use wire::messages::{FetchRequest, FetchResponse};

use super::outside::{LinkEnd, Outside, Post};

/// The API version that brokers fetch with.
const VERSION: i16 = 17;

/// The world's knowledge of a connection.
pub(crate) struct Link {
    pub(crate) follower: usize,
    pub(crate) leader: usize,
    /// Of the leader's process.
    pub(crate) incarnation: u64,
    pub(crate) end: Arc<LinkEnd>,
    /// The leader's task for the request that it has.
    pub(crate) serving: Option<u64>,
}

/// Connects followers.
pub(crate) struct Dialer(pub(crate) Outside);

pub(crate) struct SimLink {
    id: u64,
    outside: Outside,
    leader: usize,
    end: Arc<LinkEnd>,
}

impl Dial for Dialer {
    type Link = SimLink;

    async fn connect(&self, leader: BrokerId, _: &str, _: u16) -> Result<SimLink, FetchError> {
        let (outside, end) = (self.0.clone(), Arc::<LinkEnd>::default());
        Ok(SimLink { id: outside.fresh_id(), outside, leader: leader.0 as usize, end })
    }
}

impl FetchLink for SimLink {
    async fn send(&mut self, request: &FetchRequest) -> Result<(), FetchError> {
        self.outside.post(Post::Fetch {
            link: self.id,
            leader: self.leader,
            end: self.end.clone(),
            request: Box::new(request.clone()),
        });
        Ok(())
    }

    fn has_begun(&self) -> bool {
        self.end.0.lock().arrived.is_some()
    }

    async fn response(&mut self) -> Result<(), FetchError> {
        poll_fn(|cx| {
            let mut state = self.end.0.lock();
            if state.arrived.is_some() {
                return Poll::Ready(Ok(()));
            }
            if state.is_broken {
                return Poll::Ready(Err(FetchError::Link("the connection broke".into())));
            }
            state.waker = Some(cx.waker().clone());
            Poll::Pending
        })
        .await
    }

    fn receive<T>(&mut self, process: impl FnOnce(FetchResponse) -> T) -> Result<T, FetchError> {
        let arrived = self.end.0.lock().arrived.take();
        arrived.map(process).ok_or_else(|| FetchError::Link("nothing arrived".into()))
    }

    fn release(&mut self) {}
}

impl Drop for SimLink {
    fn drop(&mut self) {
        self.outside.post(Post::Close { link: self.id });
    }
}

/// What a process serves fetches with.
pub(crate) struct Serving {
    pub(crate) storage: Arc<storage::Storage>,
    pub(crate) sessions: Arc<storage::fetch::FetchSessions>,
    pub(crate) reads: process::BlockingPool,
}

impl Serving {
    /// The response with its records in memory; `None` if they cannot be read.
    pub(crate) async fn serve(
        &self,
        reader: Reader,
        request: FetchRequest,
    ) -> Option<FetchResponse> {
        let server = FetchServer {
            may_read: None,
            storage: &self.storage,
            sessions: &self.sessions,
            reads: &self.reads,
            is_memory_scarce: &|| false,
        };
        let fetch = Fetch { reader, version: VERSION, request, age: Default::default() };
        let mut response = server.serve(fetch).await;
        let topics = response.responses.iter_mut();
        for data in topics.flat_map(|topic| &mut topic.partitions) {
            if let Records::File(range) = &data.records {
                let mut bytes = vec![0; range.len];
                let file = range.file.downcast_ref::<SegmentFile>()?;
                let read = file.read_at(&mut bytes, range.position).ok()?;
                bytes.truncate(read);
                data.records = Records::Bytes(Bytes::from(bytes));
            }
        }
        Some(response)
    }
}
