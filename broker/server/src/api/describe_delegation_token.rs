//! DescribeDelegationToken (key 41): nobody is authenticated on a plaintext connection, so that
//! tokens are refused as Kafka refuses them there.

use std::sync::Arc;

use base::ErrorCode;
use wire::messages::{DescribeDelegationTokenRequest, DescribeDelegationTokenResponse};

use crate::{Broker, RequestContext};

pub async fn handle(
    _: &Arc<Broker>,
    _: &RequestContext,
    _: DescribeDelegationTokenRequest,
) -> DescribeDelegationTokenResponse {
    let error_code = ErrorCode::DelegationTokenRequestNotAllowed.code();
    DescribeDelegationTokenResponse { error_code, ..Default::default() }
}
