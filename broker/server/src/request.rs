//! What a handler knows about the request besides its body.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use crate::access::Sender;

/// Context of one request. Cheap to clone: strings are shared with the connection.
#[derive(Clone, Debug)]
pub struct RequestContext {
    /// API version of the request.
    pub version: i16,
    pub correlation_id: i32,
    /// `client.id` of the request header, empty if the client sent none.
    pub client_id: Arc<str>,
    /// Name of the listener that the client came in by (`PLAINTEXT`).
    pub listener: Arc<str>,
    pub peer: SocketAddr,
    /// A client, or a broker, as far as that is proved.
    pub sender: Sender,
    /// When the frame was complete.
    pub received: Instant,
}
