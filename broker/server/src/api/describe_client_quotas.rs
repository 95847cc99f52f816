//! DescribeClientQuotas (key 48): nobody has a quota. They cannot be set yet, and setting them is
//! not offered.

use std::sync::Arc;

use wire::messages::{DescribeClientQuotasRequest, DescribeClientQuotasResponse};

use crate::{Broker, RequestContext};

pub async fn handle(
    _: &Arc<Broker>,
    _: &RequestContext,
    _: DescribeClientQuotasRequest,
) -> DescribeClientQuotasResponse {
    DescribeClientQuotasResponse { entries: Some(Vec::new()), ..Default::default() }
}
