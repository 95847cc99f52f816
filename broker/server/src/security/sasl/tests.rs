//! What a client may say, in which order, and what it is told.
#![allow(clippy::unwrap_used)]

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use proptest::prelude::*;

use super::digest::work;
use super::testing::{self, NONCE, PLAIN, SALT, SALTED, Talk, USER};
use super::*;

const WRONG: &[u8] = b"another password with salt";

/// A client with this salted password.
fn log_in(
    talk: &mut Talk,
    mechanism: Mechanism,
    user: &str,
    salted: &[u8],
) -> Result<String, String> {
    assert_eq!(talk.handshake(mechanism.name()), (ErrorCode::None, false));
    let client_first = format!("n={user},r=client");
    let challenge = talk.say(format!("n,,{client_first}").as_bytes())?;
    let challenge = String::from_utf8(challenge.auth_bytes.to_vec()).unwrap();
    assert!(challenge.starts_with(&format!("r=client{NONCE},s=")), "{challenge}");
    let last = testing::last(mechanism.name(), salted, &client_first, &challenge);
    talk.say(last.as_bytes()).map(|_| challenge)
}

const SCRAM: [Mechanism; 2] = [Mechanism::ScramSha256, Mechanism::ScramSha512];

#[test]
fn nothing_is_answered_before_somebody_is_authenticated() {
    let mut talk = Talk::new(&[Mechanism::Plain], 0);
    assert!(talk.may_fetch().is_err() && talk.name().is_none());
    assert_eq!(talk.permits(ApiKey::ApiVersions), Ok(()));
    assert_eq!(talk.handshake("PLAIN"), (ErrorCode::None, false));
    assert!(talk.may_fetch().is_err());
    let answer = talk.say(PLAIN).unwrap();
    assert_eq!((answer.session_lifetime_ms, talk.name().as_deref()), (0, Some("User:bob")));
    assert_eq!(talk.may_fetch(), Ok(()));
}

#[test]
fn a_wrong_password_and_an_unknown_user_look_alike() {
    let told = |message: &[u8]| {
        let mut talk = Talk::new(&[Mechanism::Plain], 0);
        talk.handshake("PLAIN");
        let told = talk.say(message).unwrap_err();
        assert!(talk.may_fetch().is_err() && talk.name().is_none());
        assert!(talk.say(PLAIN).is_err(), "a connection has one attempt");
        assert!(talk.permits(ApiKey::SaslHandshake).is_err());
        told
    };
    assert_eq!(told(b"\0bob\0wrong"), told(b"\0nobody\0builder"));
    assert!(told(b"\0nobody\0\0").contains("3 tokens"));
    assert!(told(b"alice\0bob\0builder").contains("authorization id"));
    assert!(told(b"\0\0x").contains("username not specified"));
    assert!(told(b"\0nobody\0").contains("password not specified"));
    for mechanism in SCRAM {
        let scram = |user, salted| {
            let mut talk = Talk::new(&SCRAM, 0);
            log_in(&mut talk, mechanism, user, salted).unwrap_err()
        };
        assert_eq!(scram(USER, WRONG), scram("nobody", SALTED));
    }
}

#[test]
fn scram_proves_both_ends() {
    for mechanism in SCRAM {
        let mut talk = Talk::new(&SCRAM, 0);
        let challenge = log_in(&mut talk, mechanism, USER, SALTED).unwrap();
        let salt = "MWhieWM0dDF2dTJvYzh4ZDluNW0zdDJ4bnE=";
        assert_eq!(challenge, format!("r=clientserver,s={salt},i=8192"));
        assert_eq!(talk.name().as_deref(), Some("User:a,li=ce"));
    }
}

/// The exchange of RFC 7677, section 3.
#[test]
fn the_example_of_the_rfc_holds() {
    let salted = [
        0xc4, 0xa4, 0x95, 0x10, 0x32, 0x3a, 0xb4, 0xf9, 0x52, 0xca, 0xc1, 0xfa, 0x99, 0x44, 0x19,
        0x39, 0xe7, 0x8e, 0xa7, 0x4d, 0x6b, 0xe8, 0x1d, 0xdf, 0x70, 0x96, 0xe8, 0x75, 0x13, 0xdc,
        0x61, 0x5d,
    ];
    let last = scram::client_last(
        ScramMechanism::Sha256,
        &salted,
        "n=user,r=rOprNGfwEbeRWgbNEkqO",
        "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096",
        "rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0",
    );
    let proof = last.rsplit_once(",p=").unwrap().1;
    assert_eq!(proof, "dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=");
}

fn challenge(user: &str) -> String {
    let mut talk = Talk::new(&SCRAM, 0);
    talk.handshake("SCRAM-SHA-256");
    let first = format!("n,,n={user},r=client");
    let told = talk.say(first.as_bytes()).unwrap().auth_bytes;
    String::from_utf8(told.to_vec()).unwrap()
}

/// What Kafka's tools make: `new BigInteger(130, random).toString(36)`.
#[test]
fn strangers_have_salts_as_users_do() {
    assert_eq!(challenge("x"), challenge("x"), "the same each time");
    assert_ne!(challenge("x"), challenge("y"));
    let mut lengths = [0; 2];
    for number in 0..400 {
        let challenge = challenge(&format!("user{number}"));
        let salt = challenge.split(',').nth(1).and_then(|salt| salt.strip_prefix("s=")).unwrap();
        let salt = String::from_utf8(STANDARD.decode(salt).unwrap()).unwrap();
        assert!(salt.bytes().all(|c| c.is_ascii_digit() || c.is_ascii_lowercase()), "{salt}");
        match salt.len() {
            // 2^130 is 1.68 times 36^25.
            26 => assert!(salt.starts_with('1'), "{salt}"),
            len => assert!((23..=25).contains(&len), "{salt}"),
        }
        lengths[usize::from(salt.len() == 26)] += 1;
    }
    assert!(lengths[0] > 180 && lengths[1] > 120, "{lengths:?}");
}

/// What was hashed for the last two messages of an attempt that fails.
fn work_of(mechanism: Mechanism, user: &str) -> Vec<Vec<(usize, usize)>> {
    let mut talk = Talk::new(&Mechanism::ALL, 0);
    let mut done = Vec::new();
    if mechanism == Mechanism::Plain {
        talk.handshake("PLAIN");
        let told = talk.say(format!("\0{user}\0wrong").as_bytes());
        done.push(work::take());
        assert!(told.is_err());
        return done;
    }
    talk.handshake(mechanism.name());
    let first = format!("n={user},r=client");
    let challenge = talk.say(format!("n,,{first}").as_bytes()).unwrap().auth_bytes;
    done.push(work::take());
    let challenge = str::from_utf8(&challenge).unwrap();
    let last = testing::last(mechanism.name(), WRONG, &first, challenge);
    let told = talk.say(last.as_bytes());
    done.push(work::take());
    assert!(told.is_err());
    done
}

/// Time cannot be asserted, but what takes it can: as many digests of as many bytes.
#[test]
fn as_much_is_hashed_for_a_stranger_as_for_a_user() {
    let is_like_a_users = |name: &String| {
        // Some are a digit shorter, as those of users are.
        let salt = challenge(name).split(',').nth(1).map(str::len);
        salt == Some("s=".len() + SALT.len().div_ceil(3) * 4)
    };
    let strangers = (0..100).map(|number| format!("a{number:06}zzzz"));
    let stranger = strangers.into_iter().find(is_like_a_users).unwrap();
    assert_eq!(stranger.len(), USER.len());
    for mechanism in SCRAM {
        let work = work_of(mechanism, USER);
        assert_eq!(work.iter().map(Vec::len).collect::<Vec<_>>(), [3, 3], "{mechanism:?}");
        // The name itself is two letters shorter than it is written.
        let strange = work_of(mechanism, &stranger);
        assert_eq!(strange[1], work[1], "{mechanism:?}");
        let keys = |work: &[(usize, usize)]| work.iter().map(|(key, _)| *key).collect::<Vec<_>>();
        assert_eq!(keys(&strange[0]), keys(&work[0]), "{mechanism:?}");
    }
    let plain = |user| work_of(Mechanism::Plain, user);
    assert_eq!(plain("bob"), plain("nobody"));
    assert_eq!(plain("bob")[0].len(), 1, "the given password, and no other");
}

#[test]
fn what_waits_for_the_second_message_is_bounded() {
    let mut talk = Talk::new(&SCRAM, 0);
    talk.handshake("SCRAM-SHA-256");
    let long = format!("n,,n={USER},r={}", "x".repeat(4096));
    assert!(talk.say(long.as_bytes()).is_err());
    // Whoever is known may send long frames; authenticating again is done in short ones.
    let mut talk = Talk::new(&[Mechanism::Plain], 5_000);
    talk.handshake("PLAIN");
    talk.say(PLAIN).unwrap();
    talk.handshake("PLAIN");
    let told = talk.say(&[PLAIN, &[b'x'; 10_000]].concat()).unwrap_err();
    assert!(told.contains("sasl.server.max.receive.size"), "{told}");
    assert!(talk.may_fetch().is_err());
}

#[test]
fn only_enabled_mechanisms_can_be_chosen() {
    let mut talk = Talk::new(&[Mechanism::Plain], 0);
    assert_eq!(talk.handshake("SCRAM-SHA-256"), (ErrorCode::UnsupportedSaslMechanism, true));
    assert_eq!(talk.handshake("PLAIN"), (ErrorCode::IllegalSaslState, true));
    let mut talk = Talk::new(&[Mechanism::Plain], 0);
    assert!(talk.say(PLAIN).unwrap_err().contains("without SaslHandshake"));
}

#[test]
fn a_session_ends_unless_the_same_user_comes_again() {
    let mut talk = Talk::new(&[Mechanism::Plain, Mechanism::ScramSha256], 5_000);
    talk.handshake("PLAIN");
    assert_eq!(talk.say(PLAIN).unwrap().session_lifetime_ms, 5_000);
    talk.now_ms += 4_000;
    assert_eq!(talk.handshake("PLAIN"), (ErrorCode::None, false));
    assert!(talk.may_fetch().is_err(), "it is authenticating");
    talk.say(PLAIN).unwrap();
    talk.now_ms += 4_999;
    assert_eq!(talk.may_fetch(), Ok(()));
    talk.now_ms += 1;
    assert_eq!(talk.may_fetch(), Err("the session has expired"));
    assert!(log_in(&mut talk, Mechanism::ScramSha256, USER, SALTED).is_err(), "another user");
    let mut talk = Talk::new(&[Mechanism::Plain], 5_000);
    talk.handshake("PLAIN");
    talk.say(PLAIN).unwrap();
    assert_eq!(talk.handshake("PLAIN"), (ErrorCode::None, false), "at once, if it likes");
    talk.say(PLAIN).unwrap();
    assert_eq!(talk.handshake("PLAIN"), (ErrorCode::IllegalSaslState, true), "again too soon");
}

proptest! {
    /// Nothing that is said without a password lets anybody in, and nothing is too strange.
    #[test]
    fn no_words_open_the_door(
        steps in prop::collection::vec(
            (0..5usize, prop::collection::vec(any::<u8>(), 0..60)), 1..6,
        ),
    ) {
        let mut talk = Talk::new(&Mechanism::ALL, 5_000);
        for (kind, bytes) in steps {
            let text = String::from_utf8_lossy(&bytes).into_owned();
            match kind {
                0 => drop(talk.handshake("PLAIN")),
                1 => drop(talk.handshake("SCRAM-SHA-512")),
                2 => drop(talk.say(&bytes)),
                3 => drop(talk.say(format!("n,,n={text},r={text}").as_bytes())),
                _ => drop(talk.say(format!("c=biws,r=clientserver,p={text}").as_bytes())),
            }
            prop_assert!(talk.name().is_none() && talk.may_fetch().is_err());
        }
    }
}
