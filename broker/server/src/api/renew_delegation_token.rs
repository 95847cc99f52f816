//! RenewDelegationToken (key 39): nobody is authenticated on a plaintext connection, so that tokens
//! are refused as Kafka refuses them there.

use std::sync::Arc;

use base::ErrorCode;
use wire::messages::{RenewDelegationTokenRequest, RenewDelegationTokenResponse};

use crate::{Broker, RequestContext};

pub async fn handle(
    _: &Arc<Broker>,
    _: &RequestContext,
    _: RenewDelegationTokenRequest,
) -> RenewDelegationTokenResponse {
    let error_code = ErrorCode::DelegationTokenRequestNotAllowed.code();
    RenewDelegationTokenResponse { error_code, ..Default::default() }
}
