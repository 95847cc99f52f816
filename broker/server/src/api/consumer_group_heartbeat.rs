//! ConsumerGroupHeartbeat (key 68, KIP-848): the new group protocol is not served yet, and its
//! clients are told so at once, as Apache Kafka tells them where only the classic protocol is
//! enabled. If the API were not advertised, librdkafka would look for another coordinator until its
//! user loses patience. franz-go takes the answer for the word to use the classic protocol.

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
