//! ConsumerGroupHeartbeat (key 68, KIP-848): the new group protocol is not served yet, and its
//! clients are told so at once. Without an answer some of them would look for another coordinator
//! until their users lose patience. Clients that choose the protocol by themselves look for version
//! 1, which is not advertised.

use std::sync::Arc;

use base::ErrorCode;
use wire::Str;
use wire::messages::{ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse};

use crate::{Broker, RequestContext};

const NOT_SERVED: &str =
    "The consumer group protocol is not served yet: set group.protocol=classic.";

pub async fn handle(
    _: &Arc<Broker>,
    _: &RequestContext,
    _: ConsumerGroupHeartbeatRequest,
) -> ConsumerGroupHeartbeatResponse {
    ConsumerGroupHeartbeatResponse {
        error_code: ErrorCode::UnsupportedVersion.code(),
        error_message: Some(Str::from(NOT_SERVED)),
        ..Default::default()
    }
}
