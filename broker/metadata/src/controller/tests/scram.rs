//! Credentials of SCRAM through the controller, into the image and its snapshot.

use super::*;
use crate::scram::{ScramCredential, ScramMechanism};

fn upsertion(user: &str, mechanism: i8, iterations: i32) -> ScramUpsertion {
    let bytes = |byte: u8| vec![byte; 32].into();
    let (salt, stored_key, server_key) = (bytes(1), bytes(2), bytes(3));
    let credential = ScramCredential { salt, stored_key, server_key, iterations };
    ScramUpsertion { user: user.into(), mechanism, credential }
}

fn deletion(user: &str, mechanism: i8) -> ScramDeletion {
    ScramDeletion { user: user.into(), mechanism }
}

impl World {
    fn alter_scram(
        &mut self,
        deletions: Vec<ScramDeletion>,
        upsertions: Vec<ScramUpsertion>,
    ) -> Vec<(String, Result<(), ErrorCode>)> {
        let request = AlterScramCredentialsRequest { deletions, upsertions };
        match self.ask(ControllerRequest::AlterScramCredentials(request)) {
            ControllerResponse::AlterScramCredentials(results) => results
                .into_iter()
                .map(|r| (r.user.to_string(), r.result.map_err(|e| e.code)))
                .collect(),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_credential_is_written_read_back_and_removed() {
    let mut world = World::new(1);
    let done = |user: &str| (user.to_owned(), Ok(()));
    let both = vec![upsertion("a", 1, 4096), upsertion("a", 2, 8192), upsertion("b", 1, 16384)];
    assert_eq!(world.alter_scram(Vec::new(), both), [done("a"), done("b")]);
    let restored = Image::decode(&world.image.encode()).unwrap();
    assert_eq!(restored, world.image);
    let found = restored.scram_credentials().get("a", ScramMechanism::Sha512).unwrap();
    assert_eq!(found.iterations, 8192);
    assert!(!format!("{:?}", world.image).contains("[2, 2"), "keys are never shown");
    world.alter_scram(Vec::new(), vec![upsertion("a", 2, 4096)]);
    let of_a = world.image.scram_credentials().of_user("a").unwrap();
    assert_eq!(of_a.len(), 2, "it took the place of the one before");
    let deleted = world.alter_scram(vec![deletion("a", 1), deletion("a", 2)], Vec::new());
    assert_eq!(deleted, [done("a")]);
    let left: Vec<&str> =
        world.image.scram_credentials().users().map(|(user, _)| &**user).collect();
    assert_eq!(left, ["b"]);
}

#[test]
fn what_kafka_refuses_is_refused_and_holds_back_no_other_user() {
    let mut world = World::new(1);
    let upsertions = vec![
        upsertion("few", 1, 4095),
        upsertion("many", 1, 16385),
        upsertion("unknown", 9, 4096),
        upsertion("", 1, 4096),
        upsertion("twice", 1, 4096),
        upsertion("twice", 1, 4096),
        upsertion("half", 1, 4096),
        upsertion("half", 2, 1),
        upsertion("good", 1, 4096),
    ];
    let results = world.alter_scram(vec![deletion("gone", 1)], upsertions);
    let refused = |user: &str, code| (user.to_owned(), Err(code));
    let unacceptable = ErrorCode::UnacceptableCredential;
    assert_eq!(
        results,
        [
            refused("", unacceptable),
            refused("few", unacceptable),
            refused("gone", ErrorCode::ResourceNotFound),
            ("good".to_owned(), Ok(())),
            refused("half", unacceptable),
            refused("many", unacceptable),
            refused("twice", ErrorCode::DuplicateResource),
            refused("unknown", ErrorCode::UnsupportedSaslMechanism),
        ]
    );
    assert_eq!(world.image.scram_credentials().users().count(), 1);
}
