//! What a handler knows about the request besides its body.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Instant;

use base::Principal;

use crate::access::Sender;
use wire::ApiKey;

/// Whose use of the broker is measured.
#[derive(Clone, Copy, Debug)]
pub struct Client<'a> {
    pub user: &'a Arc<str>,
    pub client_id: &'a Arc<str>,
}

/// Context of one request. Cheap to clone: strings are shared with the connection.
#[derive(Clone, Debug)]
pub struct RequestContext {
    pub api: ApiKey,
    /// API version of the request.
    pub version: i16,
    pub correlation_id: i32,
    /// `client.id` of the request header, empty if the client sent none.
    pub client_id: Arc<str>,
    /// Name of the listener that the client came in by (`PLAINTEXT`).
    pub listener: Arc<str>,
    pub peer: SocketAddr,
    /// Who the connection speaks for: `User:ANONYMOUS` until somebody authenticates.
    pub principal: Principal,
    /// A client, or a broker, as far as that is proved.
    pub sender: Sender,
    /// The length of the frame.
    pub bytes: usize,
    /// When the frame was complete.
    pub received: Instant,
}

impl RequestContext {
    /// Whose use of the broker is measured.
    pub fn client(&self) -> Client<'_> {
        Client { user: &self.principal.name, client_id: &self.client_id }
    }

    /// The host of the client, as rules for hosts mean it. An address of IPv4 is one, whichever
    /// socket it came by.
    pub fn host(&self) -> IpAddr {
        self.peer.ip()
    }

    /// The host as Kafka describes members of groups: a slash before the address.
    pub fn client_host(&self) -> Arc<str> {
        format!("/{}", self.host()).into()
    }
}
