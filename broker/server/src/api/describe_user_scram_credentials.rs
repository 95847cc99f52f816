//! DescribeUserScramCredentials (key 50): no user has any.

use std::collections::BTreeSet;
use std::sync::Arc;

use base::ErrorCode;
use wire::Str;
use wire::messages::describe_user_scram_credentials_response::DescribeUserScramCredentialsResult;
use wire::messages::{DescribeUserScramCredentialsRequest, DescribeUserScramCredentialsResponse};

use crate::{Broker, RequestContext};

pub async fn handle(
    _: &Arc<Broker>,
    _: &RequestContext,
    request: DescribeUserScramCredentialsRequest,
) -> DescribeUserScramCredentialsResponse {
    // Without names all users are asked for, and there are none.
    let users = request.users.unwrap_or_default();
    let names: BTreeSet<Str> = users.into_iter().map(|user| user.name).collect();
    let unknown = |user: Str| {
        let message = format!("Attempt to describe a user credential that does not exist: {user}");
        DescribeUserScramCredentialsResult {
            user,
            error_code: ErrorCode::ResourceNotFound.code(),
            error_message: Some(Str::from(message)),
            ..Default::default()
        }
    };
    DescribeUserScramCredentialsResponse {
        results: names.into_iter().map(unknown).collect(),
        ..Default::default()
    }
}
