//! AlterUserScramCredentials (key 51). The client sends the salted password; only what verifies a
//! proof of it goes on to the controller.

use std::sync::Arc;

use base::ErrorCode;
use metadata::{
    AlterScramCredentialsRequest, Image, ScramCredential, ScramDeletion, ScramMechanism,
    ScramUpsertion,
};
use wire::Str;
use wire::messages::alter_user_scram_credentials_request::{
    ScramCredentialDeletion, ScramCredentialUpsertion,
};
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
    let deletion = |d: ScramCredentialDeletion| ScramDeletion {
        user: d.name.into_arc(),
        mechanism: d.mechanism,
    };
    let asked = AlterScramCredentialsRequest {
        deletions: request.deletions.into_iter().map(deletion).collect(),
        upsertions: request.upsertions.into_iter().map(upsertion).collect(),
    };
    let answered = forward(broker, asked.clone()).await;
    if let Ok(results) = &answered {
        // Who logs in here next does so with the new password, and with none that is gone.
        let done = |user: &str| results.iter().any(|r| *r.user == *user && r.result.is_ok());
        await_image(broker, |image| shows(image, &asked, &done)).await;
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

/// Whether the image has what was asked for those users whose alteration was `done`.
fn shows(image: &Image, asked: &AlterScramCredentialsRequest, done: &dyn Fn(&str) -> bool) -> bool {
    let has = |user: &str, mechanism: i8, wanted: Option<&ScramCredential>| {
        let Some(mechanism) = ScramMechanism::from_code(mechanism) else { return true };
        !done(user) || image.scram_credentials().get(user, mechanism) == wanted
    };
    asked.deletions.iter().all(|d| has(&d.user, d.mechanism, None))
        && asked.upsertions.iter().all(|u| has(&u.user, u.mechanism, Some(&u.credential)))
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

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use bytes::Bytes;
    use metadata::{
        BARNABAS_VERSION, FeatureLevelRecord, LEVEL_MAX, MetadataRecord, UserScramCredentialRecord,
    };

    use super::*;

    #[test]
    fn the_answer_waits_for_what_is_gone_as_for_what_is_new() {
        let asked = |salt: &'static [u8]| {
            upsertion(ScramCredentialUpsertion {
                name: "a".into(),
                mechanism: 1,
                iterations: 4096,
                salt: Bytes::from_static(salt),
                salted_password: Bytes::from_static(b"password"),
            })
        };
        let ScramUpsertion { user, credential, .. } = asked(b"old");
        let mechanism = ScramMechanism::Sha256;
        let record = UserScramCredentialRecord { name: user.clone(), mechanism, credential };
        let level = FeatureLevelRecord { name: BARNABAS_VERSION.into(), level: LEVEL_MAX };
        let records =
            [MetadataRecord::FeatureLevel(level), MetadataRecord::UserScramCredential(record)];
        let mut image = Image::new("");
        image.apply(0, &records).unwrap();
        let shows = |request, is_done: bool| shows(&image, &request, &|_| is_done);
        let deletion = ScramDeletion { user, mechanism: 1 };
        let deletes =
            AlterScramCredentialsRequest { deletions: vec![deletion], upsertions: Vec::new() };
        assert!(!shows(deletes.clone(), true) && shows(deletes, false));
        let sets = |salt| AlterScramCredentialsRequest {
            deletions: Vec::new(),
            upsertions: vec![asked(salt)],
        };
        assert!(!shows(sets(b"new"), true) && shows(sets(b"old"), true));
    }
}
