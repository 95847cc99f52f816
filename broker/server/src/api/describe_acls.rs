//! DescribeAcls (key 29): there is no authorizer, and no rule that it could tell of. Clients
//! (MirrorMaker, consoles) turn off what needs rules when they hear this.

use std::sync::Arc;

use base::ErrorCode;
use wire::Str;
use wire::messages::{DescribeAclsRequest, DescribeAclsResponse};

use crate::{Broker, RequestContext};

/// As Kafka says it without an authorizer.
pub(super) const NO_AUTHORIZER: &str = "No Authorizer is configured.";

pub async fn handle(
    _: &Arc<Broker>,
    _: &RequestContext,
    _: DescribeAclsRequest,
) -> DescribeAclsResponse {
    DescribeAclsResponse {
        error_code: ErrorCode::SecurityDisabled.code(),
        error_message: Some(Str::from(NO_AUTHORIZER)),
        ..Default::default()
    }
}
