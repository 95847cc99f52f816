//! CreateDelegationToken (key 38): nobody is authenticated on a plaintext connection, so that
//! tokens are refused as Kafka refuses them there.

use std::sync::Arc;

use base::ErrorCode;
use wire::messages::{CreateDelegationTokenRequest, CreateDelegationTokenResponse};

use crate::{Broker, RequestContext};

pub async fn handle(
    _: &Arc<Broker>,
    _: &RequestContext,
    _: CreateDelegationTokenRequest,
) -> CreateDelegationTokenResponse {
    let error_code = ErrorCode::DelegationTokenRequestNotAllowed.code();
    CreateDelegationTokenResponse { error_code, ..Default::default() }
}
