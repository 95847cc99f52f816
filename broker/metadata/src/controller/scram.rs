//! Credentials of SCRAM: what is altered, judged as Kafka's `ScramControlManager` judges it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use base::ErrorCode;

use super::draft::Draft;
use super::failure::error;
use crate::level::SCRAM_LEVEL;
use crate::record::{MetadataRecord, RemoveUserScramCredentialRecord, UserScramCredentialRecord};
use crate::request::{
    AlterScramCredentialsRequest, ControllerError, ScramDeletion, ScramResult, ScramUpsertion,
};
use crate::scram::ScramMechanism;

/// As `ScramMechanism` of Kafka has them.
const ITERATIONS_MIN: i32 = 4096;
const ITERATIONS_MAX: i32 = 16384;
const TWICE: &str = "A user credential cannot be altered twice in the same request";

type Judged = Result<MetadataRecord, ControllerError>;

impl Draft<'_> {
    /// One result per user: where one alteration of a user is refused, all of them are.
    pub(super) fn alter_scram_credentials(
        &mut self,
        request: AlterScramCredentialsRequest,
    ) -> Result<Vec<ScramResult>, ControllerError> {
        self.needs_level(SCRAM_LEVEL, "Credentials of SCRAM")?;
        let mut seen = BTreeSet::new();
        let mut users: BTreeMap<Arc<str>, Result<Vec<MetadataRecord>, ControllerError>> =
            BTreeMap::new();
        let mut judge = |user: Arc<str>, mechanism: i8, judged: Judged| {
            let judged = match seen.insert((user.clone(), mechanism)) {
                true => judged,
                false => error(ErrorCode::DuplicateResource, TWICE),
            };
            let records = users.entry(user).or_insert_with(|| Ok(Vec::new()));
            match (records.as_mut(), judged) {
                (Ok(records), Ok(record)) => records.push(record),
                (Ok(_), Err(refused)) => *records = Err(refused),
                (Err(_), _) => {}
            }
        };
        for deletion in request.deletions {
            let (user, mechanism) = (deletion.user.clone(), deletion.mechanism);
            judge(user, mechanism, self.judge_deletion(deletion));
        }
        for upsertion in request.upsertions {
            let (user, mechanism) = (upsertion.user.clone(), upsertion.mechanism);
            judge(user, mechanism, judge_upsertion(upsertion));
        }
        let mut results = Vec::new();
        for (user, records) in users {
            let result = records.map(|records| {
                records.into_iter().for_each(|record| self.push(record));
            });
            results.push(ScramResult { user, result });
        }
        Ok(results)
    }

    fn judge_deletion(&self, deletion: ScramDeletion) -> Judged {
        let mechanism = judge_name(&deletion.user, deletion.mechanism)?;
        let user = deletion.user;
        if self.image.scram_credentials().get(&user, mechanism).is_none() {
            let why = "Attempt to delete a user credential that does not exist";
            return error(ErrorCode::ResourceNotFound, why);
        }
        let record = RemoveUserScramCredentialRecord { name: user, mechanism };
        Ok(MetadataRecord::RemoveUserScramCredential(record))
    }
}

fn judge_name(user: &str, mechanism: i8) -> Result<ScramMechanism, ControllerError> {
    if user.is_empty() {
        return error(ErrorCode::UnacceptableCredential, "Username must not be empty");
    }
    match ScramMechanism::from_code(mechanism) {
        Some(mechanism) => Ok(mechanism),
        None => error(ErrorCode::UnsupportedSaslMechanism, "Unknown SCRAM mechanism"),
    }
}

fn judge_upsertion(upsertion: ScramUpsertion) -> Judged {
    let mechanism = judge_name(&upsertion.user, upsertion.mechanism)?;
    let iterations = upsertion.credential.iterations;
    if iterations < ITERATIONS_MIN {
        return error(ErrorCode::UnacceptableCredential, "Too few iterations");
    }
    if iterations > ITERATIONS_MAX {
        return error(ErrorCode::UnacceptableCredential, "Too many iterations");
    }
    Ok(MetadataRecord::UserScramCredential(UserScramCredentialRecord {
        name: upsertion.user,
        mechanism,
        credential: upsertion.credential,
    }))
}
