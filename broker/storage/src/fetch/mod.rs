//! Serving Fetch, to consumers and to followers: sessions (KIP-227), long poll, limits. `session`
//! keeps what a client wants to fetch, `round` reads the partitions that may have news, `response`
//! says what was found. Whoever has the connection decodes, encodes, and knows who asks.

mod response;
mod round;
mod session;
mod want;

use std::future::poll_fn;
use std::time::{Duration, Instant};

use base::ErrorCode;
use process::BlockingPool;
use process::time::{now, timeout_at};
use wire::messages::{FetchRequest, FetchResponse};

use crate::Storage;
pub use response::refused;
pub use round::Reader;
use round::{Limits, Round};
pub use session::FetchSessions;
use session::{Kind, Opened};

/// What fetches are served with.
pub struct FetchServer<'a> {
    pub storage: &'a Storage,
    pub sessions: &'a FetchSessions,
    /// Reads what is not in the page cache.
    pub reads: &'a BlockingPool,
    /// While memory is scarce, records are sent from their files however few they are.
    pub is_memory_scarce: &'a (dyn Fn() -> bool + Send + Sync),
    /// Whether the client may read a topic; `None`: it may read all.
    pub may_read: Option<MayRead<'a>>,
}

/// Asked of a topic by its name.
pub type MayRead<'a> = &'a (dyn Fn(&str) -> bool + Send + Sync);

/// One request, and who sent it.
#[derive(Debug)]
pub struct Fetch {
    pub reader: Reader,
    /// API version of the request.
    pub version: i16,
    pub request: FetchRequest,
    /// How long it has been waiting already.
    pub age: Duration,
}

impl Fetch {
    /// Of a request that was complete at this moment.
    pub fn received(reader: Reader, version: i16, request: FetchRequest, at: Instant) -> Fetch {
        Fetch { reader, version, request, age: at.elapsed() }
    }
}

impl FetchServer<'_> {
    /// The response, after the long poll. Given up before, the session ends.
    pub async fn serve(&self, fetch: Fetch) -> FetchResponse {
        let Fetch { reader, version, request, age } = fetch;
        let replica = &self.storage.config.replica;
        let mut limits = Limits::of(replica.consumer_fetch_bytes_max, &reader, &request);
        let max_wait = Duration::from_millis(request.max_wait_ms.max(0).unsigned_abs().into());
        let deadline = now() + max_wait.saturating_sub(age);
        let opened =
            self.sessions.open(&self.storage.partitions, version, reader.is_follower(), request);
        let Opened { id, kind, mut session } = match opened {
            Ok(opened) => opened,
            Err((id, code)) => return error(id, code),
        };
        limits.tells_commits =
            replica.rack_aware_reads && reader.is_follower() && kind == Kind::Incremental;
        reader.note_positions(&mut session);
        let mut round = Round::default();
        loop {
            round.look(self, &reader, &limits, &mut session).await;
            if round.is_enough(&limits) || session.is_empty() {
                break;
            }
            if now() >= deadline {
                break;
            }
            // What a throttle held back is looked at again when there is room for it.
            let wake = round.held_until().map_or(deadline, |until| until.min(deadline));
            // Data below min.bytes does not complete the fetch: more of it must be told.
            round.await_more(&reader, &mut session);
            let is_over = loop {
                let news = poll_fn(|cx| session.poll_news(cx));
                let Ok(news) = timeout_at(wake, news).await else { break wake == deadline };
                if round.weigh(self.sight(), &reader, &limits, &mut session, &news) {
                    break false;
                }
            };
            if is_over {
                // What came meanwhile was only counted.
                if round.has_grown() {
                    round.look(self, &reader, &limits, &mut session).await;
                }
                break;
            }
        }
        let response = response::build(self.storage, &reader, id, kind, &round, &mut session);
        session.answered();
        response
    }
}

fn error(session_id: i32, code: ErrorCode) -> FetchResponse {
    FetchResponse { error_code: code.code(), session_id, ..FetchResponse::default() }
}
