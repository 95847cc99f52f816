//! AlterUserScramCredentials (key 51). The client sends the salted password; only what verifies a
//! proof of it goes on to the controller.

use std::sync::Arc;

use base::ErrorCode;
use metadata::{
    AlterScramCredentialsRequest, ControllerRequest, ControllerResponse, ScramCredential,
    ScramDeletion, ScramMechanism, ScramUpsertion,
};
use wire::Str;
use wire::messages::alter_user_scram_credentials_request::ScramCredentialUpsertion;
use wire::messages::alter_user_scram_credentials_response::AlterUserScramCredentialsResult;
use wire::messages::{AlterUserScramCredentialsRequest, AlterUserScramCredentialsResponse};

use super::forward::{await_image, forward, outcome};
use crate::security::sasl::keys;
use crate::{Broker, RequestContext};

pub async fn handle(
    broker: &Arc<Broker>,
    _: &RequestContext,
    request: AlterUserScramCredentialsRequest,
) -> AlterUserScramCredentialsResponse {
    let mut users: Vec<Str> = request.deletions.iter().map(|d| d.name.clone()).collect();
    users.extend(request.upsertions.iter().map(|u| u.name.clone()));
    users.sort();
    users.dedup();
    let deletions = request.deletions.into_iter();
    let deletions = deletions
        .map(|d| ScramDeletion { user: d.name.into_arc(), mechanism: d.mechanism })
        .collect();
    let upsertions: Vec<ScramUpsertion> = request.upsertions.into_iter().map(upsertion).collect();
    let written = upsertions.clone();
    let request = AlterScramCredentialsRequest { deletions, upsertions };
    let request = ControllerRequest::AlterScramCredentials(request);
    let take = |response| match response {
        ControllerResponse::AlterScramCredentials(results) => Some(results),
        _ => None,
    };
    let answered = forward(broker, request, take).await;
    if let Ok(results) = &answered {
        // Who logs in here next, with the new password, does so at once.
        let done = |user: &str| results.iter().any(|r| *r.user == *user && r.result.is_ok());
        let shown = written.into_iter().filter(|upsertion| done(&upsertion.user));
        let shown: Vec<ScramUpsertion> = shown.collect();
        await_image(broker, |image| shown.iter().all(|upsertion| is_in(image, upsertion))).await;
    }
    let result = |user: Str| {
        let result = match &answered {
            Ok(results) => results
                .iter()
                .find(|result| *result.user == *user)
                .map_or_else(|| Err(ErrorCode::UnknownServerError.into()), |r| r.result.clone()),
            Err(error) => Err(error.clone()),
        };
        let (error_code, error_message) = outcome(&result);
        AlterUserScramCredentialsResult { user, error_code, error_message }
    };
    let results = users.into_iter().map(result).collect();
    AlterUserScramCredentialsResponse { results, ..Default::default() }
}

fn is_in(image: &metadata::Image, upsertion: &ScramUpsertion) -> bool {
    let mechanism = ScramMechanism::from_code(upsertion.mechanism);
    let of_user = |mechanism| image.scram_credentials().get(&upsertion.user, mechanism);
    mechanism.is_none_or(|mechanism| of_user(mechanism) == Some(&upsertion.credential))
}

fn upsertion(upsertion: ScramCredentialUpsertion) -> ScramUpsertion {
    // The controller refuses an unknown mechanism by its number.
    let mechanism = ScramMechanism::from_code(upsertion.mechanism);
    let (stored_key, server_key) = match mechanism {
        Some(mechanism) => keys(mechanism, &upsertion.salted_password),
        None => Default::default(),
    };
    let credential = ScramCredential {
        salt: upsertion.salt.to_vec().into(),
        stored_key: stored_key.into(),
        server_key: server_key.into(),
        iterations: upsertion.iterations,
    };
    ScramUpsertion { user: upsertion.name.into_arc(), mechanism: upsertion.mechanism, credential }
}
