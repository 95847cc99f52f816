//! DescribeUserScramCredentials (key 50): which mechanisms a user has a credential for, and their
//! iterations. Keys and salts are told to nobody.

use std::collections::BTreeMap;
use std::sync::Arc;

use base::ErrorCode;
use metadata::UserCredentials;
use wire::Str;
use wire::messages::describe_user_scram_credentials_response::{
    CredentialInfo, DescribeUserScramCredentialsResult,
};
use wire::messages::{DescribeUserScramCredentialsRequest, DescribeUserScramCredentialsResponse};

use crate::{Broker, RequestContext};

pub async fn handle(
    broker: &Arc<Broker>,
    _: &RequestContext,
    request: DescribeUserScramCredentialsRequest,
) -> DescribeUserScramCredentialsResponse {
    let image = broker.image();
    let credentials = image.scram_credentials();
    // Without names all users are asked for.
    let results = match request.users.filter(|users| !users.is_empty()) {
        None => credentials.users().map(|(user, all)| described(Str::from(user), all)).collect(),
        Some(users) => {
            let mut asked: BTreeMap<Str, usize> = BTreeMap::new();
            users.into_iter().for_each(|user| *asked.entry(user.name).or_default() += 1);
            let result = |(user, times): (Str, usize)| match credentials.of_user(&user) {
                _ if times > 1 => {
                    let what = "Cannot describe SCRAM credentials for the same user twice in a \
                                single request";
                    refused(user, ErrorCode::DuplicateResource, what)
                }
                Some(all) => described(user, all),
                None => {
                    let what = "Attempt to describe a user credential that does not exist";
                    refused(user, ErrorCode::ResourceNotFound, what)
                }
            };
            asked.into_iter().map(result).collect()
        }
    };
    DescribeUserScramCredentialsResponse { results, ..Default::default() }
}

fn described(user: Str, all: &UserCredentials) -> DescribeUserScramCredentialsResult {
    let info = |(mechanism, credential): &(metadata::ScramMechanism, metadata::ScramCredential)| {
        CredentialInfo { mechanism: mechanism.code(), iterations: credential.iterations }
    };
    let credential_infos = all.iter().map(info).collect();
    DescribeUserScramCredentialsResult { user, credential_infos, ..Default::default() }
}

fn refused(user: Str, code: ErrorCode, what: &str) -> DescribeUserScramCredentialsResult {
    let message = format!("{what}: {user}");
    DescribeUserScramCredentialsResult {
        user,
        error_code: code.code(),
        error_message: Some(Str::from(message)),
        ..Default::default()
    }
}
