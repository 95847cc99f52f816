//! Answers as frames, and what a client has to pause for them.

use std::time::Duration;

use wire::header::ResponseHeader;
use wire::{ApiKey, DecodeError, Message, Writer};

use crate::broker::Broker;
use crate::net::{Reply, Started};
use crate::quotas::Used;
use crate::request::RequestContext;

/// A request that cannot be read: the connection ends, since the client's view of it is broken.
pub fn malformed(cx: &RequestContext, error: &DecodeError) -> Started {
    let (peer, principal, client) = (&cx.peer, &cx.principal, &cx.client_id);
    tracing::debug!(%peer, %principal, %client, %error, "malformed request");
    Started::Done(Reply::Close("malformed request"))
}

/// Charges a request to the quotas of its client and encodes the response: the one place where a
/// client is told to pause. Its connection then reads nothing for so long.
pub fn answer<R: Message>(
    broker: &Broker,
    api: ApiKey,
    cx: &RequestContext,
    mut response: R,
    used: Used,
) -> Reply {
    let mut pause = broker.quotas.spend(&broker.image(), cx, used);
    if let Some(told) = response.throttle_time_ms() {
        // A handler may have its own reason.
        pause = pause.max(Duration::from_millis((*told).max(0).unsigned_abs().into()));
        *told = i32::try_from(pause.as_millis()).unwrap_or(i32::MAX);
    }
    reply(api, cx, &response).pausing(pause)
}

/// Encodes a response as a frame.
pub fn reply<R: Message>(api: ApiKey, cx: &RequestContext, response: &R) -> Reply {
    let mut w = Writer::frame();
    let header = ResponseHeader { correlation_id: cx.correlation_id };
    header.encode(&mut w, api.response_header_version(cx.version));
    match response.encode(&mut w, cx.version).and_then(|()| w.finish_frame()) {
        Ok(parts) => Reply::Parts(parts),
        Err(error) => {
            tracing::error!(%api, version = cx.version, %error, "encode response");
            Reply::Close("response could not be encoded")
        }
    }
}
