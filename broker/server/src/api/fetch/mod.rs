//! Fetch, of consumers and of followers: sessions (KIP-227), long poll, limits. `session` keeps
//! what a client wants to fetch, `round` looks at the partitions that may have news, `response`
//! encodes what was found.

mod response;
mod round;
mod session;
mod want;

use std::future::poll_fn;
use std::sync::Arc;
use std::time::Duration;

use base::ErrorCode;
use tokio::time::{Instant, timeout_at};
use wire::messages::{FetchRequest, FetchResponse};
use wire::{ApiKey, Reader};

use crate::broker::Broker;
use crate::dispatch::{malformed, reply};
use crate::net::{Reply, Started};
use crate::request::RequestContext;
use round::{Limits, Reader as Fetcher, Round};
pub use session::FetchSessions;
use session::Opened;

/// Decodes the request; the rest happens when it is polled, which is at once.
pub fn start(broker: &Arc<Broker>, cx: RequestContext, body: &mut Reader) -> Started {
    match FetchRequest::decode(body, cx.version) {
        Ok(request) => {
            let broker = broker.clone();
            Started::Later(Box::pin(async move { handle(&broker, &cx, request).await }))
        }
        Err(error) => malformed(&cx, &error),
    }
}

async fn handle(broker: &Arc<Broker>, cx: &RequestContext, request: FetchRequest) -> Reply {
    let fetcher = match Fetcher::of(broker, cx, &request) {
        Ok(fetcher) => fetcher,
        Err(code) => return reply(ApiKey::Fetch, cx, &response::refused(request, code)),
    };
    let limits = Limits::of(broker, &fetcher, &request);
    let max_wait = Duration::from_millis(request.max_wait_ms.max(0).unsigned_abs().into());
    let deadline = Instant::from_std(cx.received) + max_wait;
    let opened =
        broker.fetch_sessions.open(&broker.storage.partitions, cx, fetcher.is_follower(), request);
    let Opened { id, kind, mut session } = match opened {
        Ok(opened) => opened,
        Err((id, code)) => return error_reply(cx, id, code),
    };
    fetcher.note_positions(&mut session);
    let mut round = Round::default();
    loop {
        round.look(broker, &fetcher, &limits, &mut session).await;
        if round.is_enough(&limits) || session.is_empty() {
            break;
        }
        if Instant::now() >= deadline {
            break;
        }
        // What a throttle held back is looked at again when there is room for it.
        let wake = round.held_until().map_or(deadline, |until| until.min(deadline));
        // Data below min.bytes does not complete the fetch: more of it must be told.
        round.await_more(&fetcher, &mut session);
        let is_over = loop {
            let news = poll_fn(|cx| session.poll_news(cx));
            let Ok(news) = timeout_at(wake, news).await else { break wake == deadline };
            if round.weigh(&broker.storage.partitions, &fetcher, &limits, &mut session, &news) {
                break false;
            }
        };
        if is_over {
            // What came meanwhile was only counted.
            if round.has_grown() {
                round.look(broker, &fetcher, &limits, &mut session).await;
            }
            break;
        }
    }
    let response = response::build(broker, cx, &fetcher, id, kind, &round, &mut session);
    session.answered();
    reply(ApiKey::Fetch, cx, &response)
}

fn error_reply(cx: &RequestContext, session_id: i32, code: ErrorCode) -> Reply {
    let error_code = code.code();
    let response = FetchResponse { error_code, session_id, ..FetchResponse::default() };
    reply(ApiKey::Fetch, cx, &response)
}
