//! Answers as frames.

use wire::header::ResponseHeader;
use wire::{ApiKey, DecodeError, Message, Writer};

use crate::net::{Reply, Started};
use crate::request::RequestContext;

/// A request that cannot be read: the connection ends, since the client's view of it is broken.
pub fn malformed(cx: &RequestContext, error: &DecodeError) -> Started {
    let (peer, principal, client) = (&cx.peer, &cx.principal, &cx.client_id);
    tracing::debug!(%peer, %principal, %client, %error, "malformed request");
    Started::Done(Reply::Close("malformed request"))
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
