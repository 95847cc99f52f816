//! ExpireDelegationToken (key 40): nobody is authenticated on a plaintext connection, so that
//! tokens are refused as Kafka refuses them there.

use std::sync::Arc;

use base::ErrorCode;
use wire::messages::{ExpireDelegationTokenRequest, ExpireDelegationTokenResponse};

use crate::{Broker, RequestContext};

pub async fn handle(
    _: &Arc<Broker>,
    _: &RequestContext,
    _: ExpireDelegationTokenRequest,
) -> ExpireDelegationTokenResponse {
    let error_code = ErrorCode::DelegationTokenRequestNotAllowed.code();
    ExpireDelegationTokenResponse { error_code, ..Default::default() }
}
