//! Both ends against each other, and against somebody who has only listened.
#![allow(clippy::unwrap_used)]

use super::*;

const CLUSTER: &str = "c";
const OWN: BrokerId = BrokerId(1);

fn secret(text: &str) -> Secret {
    Secret::new(format!("the secret of {text}").as_bytes()).unwrap()
}

fn strict(text: &str) -> Guard {
    Guard::Strict(secret(text))
}

fn prover(guard: &Guard) -> Prover<'_> {
    Prover::new(guard, CLUSTER.to_owned(), BrokerId(2), OWN).unwrap()
}

/// Asks broker 1, which has `theirs`, for its challenge.
fn challenge(
    proving: &mut Proving,
    theirs: &Secret,
    first: &SaslAuthenticateRequest,
) -> SaslAuthenticateResponse {
    let handshake = SaslHandshakeRequest { mechanism: Str::from(MECHANISM) };
    assert_eq!(proving.handshake(Some(theirs), &handshake).error_code, 0);
    proving.authenticate(Some(theirs), CLUSTER, OWN, first)
}

#[test]
fn a_broker_proves_itself_and_asks_for_a_proof() {
    let (guard, theirs) = (strict("us"), secret("us"));
    let (prover, mut proving) = (prover(&guard), Proving::default());
    let answer = challenge(&mut proving, &theirs, &prover.first());
    assert_eq!(proving.proved(), None);
    let second = prover.second(&answer).unwrap();
    let answer = proving.authenticate(Some(&theirs), CLUSTER, OWN, &second);
    assert_eq!(prover.accepted(&answer), Ok(()));
    assert_eq!(proving.proved(), Some(BrokerId(2)));
    // Once is enough, and it cannot be somebody else from then on.
    let again = proving.authenticate(Some(&theirs), CLUSTER, OWN, &prover.first());
    assert_eq!(again.error_code, ErrorCode::IllegalSaslState.code());
    assert_eq!(proving.proved(), Some(BrokerId(2)));
}

#[test]
fn who_has_another_secret_proves_nothing_and_is_not_believed() {
    let (guard, theirs) = (strict("others"), secret("us"));
    let (prover, mut proving) = (prover(&guard), Proving::default());
    let answer = challenge(&mut proving, &theirs, &prover.first());
    assert_eq!(prover.second(&answer), Err(ProofError::OtherSecret));
    let lenient = Guard::Lenient(secret("others"));
    let second = Prover { guard: &lenient, ..prover }.second(&answer).unwrap();
    let answer = proving.authenticate(Some(&theirs), CLUSTER, OWN, &second);
    assert_eq!(answer.error_code, ErrorCode::SaslAuthenticationFailed.code());
    assert_eq!(proving.proved(), None);
}

#[test]
fn what_was_heard_before_is_no_proof() {
    let (guard, theirs) = (strict("us"), secret("us"));
    let (prover, mut proving) = (prover(&guard), Proving::default());
    let first = prover.first();
    let second = prover.second(&challenge(&mut proving, &theirs, &first)).unwrap();
    let mut replayed = Proving::default();
    let answer = challenge(&mut replayed, &theirs, &first);
    let refused = replayed.authenticate(Some(&theirs), CLUSTER, OWN, &second);
    assert_eq!(refused.error_code, ErrorCode::SaslAuthenticationFailed.code());
    let handshake = SaslHandshakeRequest { mechanism: Str::from(MECHANISM) };
    let again = replayed.handshake(Some(&theirs), &handshake);
    assert_eq!(again.error_code, ErrorCode::IllegalSaslState.code(), "one attempt per connection");
    // Nor is the broker's own proof, sent back to it.
    let mut reflected = Proving::default();
    let theirs_back = challenge(&mut reflected, &theirs, &first).auth_bytes.slice(WIDTH..);
    let request = SaslAuthenticateRequest { auth_bytes: theirs_back };
    let refused = reflected.authenticate(Some(&theirs), CLUSTER, OWN, &request);
    assert_eq!(refused.error_code, ErrorCode::SaslAuthenticationFailed.code());
    let refused = reflected.authenticate(Some(&theirs), CLUSTER, OWN, &second);
    assert_eq!(refused.error_code, ErrorCode::IllegalSaslState.code());
    assert!(replayed.proved().or(reflected.proved()).is_none());
    assert_eq!(answer.error_code, 0);
}

#[test]
fn garbage_is_refused() {
    let theirs = secret("us");
    let long = vec![1; 1000];
    for bytes in [&[][..], &[1], &[1; 40], &[2; 41], &[0xff; 41], &long] {
        let request = SaslAuthenticateRequest { auth_bytes: Bytes::copy_from_slice(bytes) };
        let mut proving = Proving::default();
        let answer = challenge(&mut proving, &theirs, &request);
        assert_eq!(answer.error_code, ErrorCode::SaslAuthenticationFailed.code(), "{bytes:?}");
    }
    let plain = SaslHandshakeRequest { mechanism: Str::from("PLAIN") };
    let answer = Proving::default().handshake(Some(&theirs), &plain);
    assert_eq!(answer.error_code, ErrorCode::UnsupportedSaslMechanism.code());
    // On a listener without proofs it is as on Kafka's listeners without SASL.
    let answer = Proving::default().handshake(None, &plain);
    assert_eq!(answer.error_code, ErrorCode::IllegalSaslState.code());
}
