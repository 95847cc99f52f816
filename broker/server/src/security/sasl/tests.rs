//! What a client may say, in which order, and what it is told.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;

use config::Password;
use proptest::prelude::*;

use super::*;

const SALTED: &[u8] = b"a password with salt";
const WRONG: &[u8] = b"another password with salt";

fn config(mechanisms: &[Mechanism], reauth_ms: u64) -> SaslConfig {
    SaslConfig {
        mechanisms: mechanisms.to_vec(),
        users: BTreeMap::from([("bob".to_owned(), Password::new("builder"))]),
        reauth_ms_max: mechanisms.iter().map(|mechanism| (*mechanism, reauth_ms)).collect(),
        request_bytes_max: 4096,
    }
}

fn credential(mechanism: ScramMechanism, user: &str) -> Option<ScramCredential> {
    let (stored, server) = scram::keys(mechanism, SALTED);
    (user == "a,li=ce").then(|| ScramCredential {
        salt: (*b"salt").into(),
        stored_key: stored.into(),
        server_key: server.into(),
        iterations: 8192,
    })
}

struct Rig {
    config: SaslConfig,
    unknown: Unknown,
    sasl: Sasl,
    now_ms: i64,
}

impl Rig {
    fn new(mechanisms: &[Mechanism], reauth_ms: u64) -> Rig {
        let (config, sasl) = (config(mechanisms, reauth_ms), Sasl::default());
        Rig { config, unknown: Unknown::new([3; 32]), sasl, now_ms: 1_000 }
    }

    fn ask<R>(&mut self, ask: impl FnOnce(&mut Sasl, &World<'_>) -> R) -> R {
        let world = World {
            config: &self.config,
            scram: &credential,
            unknown: &self.unknown,
            now_ms: self.now_ms,
            nonce: "server",
        };
        ask(&mut self.sasl, &world)
    }

    fn handshake(&mut self, mechanism: &str) -> (ErrorCode, bool) {
        let request = SaslHandshakeRequest { mechanism: mechanism.into() };
        let answer = self.ask(|sasl, world| sasl.handshake(world, &request));
        (ErrorCode::from_i16(answer.response.error_code).unwrap(), answer.is_end)
    }

    /// The answer, or the error's message with the connection's end.
    fn say(&mut self, message: &[u8]) -> Result<SaslAuthenticateResponse, String> {
        let request = SaslAuthenticateRequest { auth_bytes: Bytes::copy_from_slice(message) };
        let answer = self.ask(|sasl, world| sasl.authenticate(world, &request));
        assert_eq!(answer.is_end, answer.response.error_code != 0);
        match answer.is_end {
            false => Ok(answer.response),
            true => Err(answer.response.error_message.unwrap().to_string()),
        }
    }

    /// A client with this salted password.
    fn scram(&mut self, mechanism: Mechanism, user: &str, salted: &[u8]) -> Result<String, String> {
        assert_eq!(self.handshake(mechanism.name()), (ErrorCode::None, false));
        let client_first = format!("n={user},r=client");
        let challenge = self.say(format!("n,,{client_first}").as_bytes())?;
        let challenge = String::from_utf8(challenge.auth_bytes.to_vec()).unwrap();
        let nonce = "clientserver";
        assert!(challenge.starts_with("r=clientserver,s="), "{challenge}");
        let last = scram::client_last(
            mechanism.scram().unwrap(),
            salted,
            &client_first,
            &challenge,
            nonce,
        );
        self.say(last.as_bytes()).map(|_| challenge)
    }

    fn may_fetch(&self) -> Result<(), &'static str> {
        self.sasl.permits(ApiKey::Fetch, self.now_ms)
    }

    fn name(&self) -> Option<String> {
        self.sasl.principal().map(Principal::to_string)
    }
}

const SCRAM: [Mechanism; 2] = [Mechanism::ScramSha256, Mechanism::ScramSha512];

#[test]
fn nothing_is_answered_before_somebody_is_authenticated() {
    let mut rig = Rig::new(&[Mechanism::Plain], 0);
    assert!(rig.may_fetch().is_err() && rig.name().is_none());
    assert_eq!(rig.sasl.permits(ApiKey::ApiVersions, 0), Ok(()));
    assert_eq!(rig.handshake("PLAIN"), (ErrorCode::None, false));
    assert!(rig.may_fetch().is_err());
    let answer = rig.say(b"\0bob\0builder").unwrap();
    assert_eq!((answer.session_lifetime_ms, rig.name().as_deref()), (0, Some("User:bob")));
    assert_eq!(rig.may_fetch(), Ok(()));
}

#[test]
fn a_wrong_password_and_an_unknown_user_look_alike() {
    let told = |message: &[u8]| {
        let mut rig = Rig::new(&[Mechanism::Plain], 0);
        rig.handshake("PLAIN");
        let told = rig.say(message).unwrap_err();
        assert!(rig.may_fetch().is_err() && rig.name().is_none());
        assert!(rig.say(b"\0bob\0builder").is_err(), "a connection has one attempt");
        assert!(rig.sasl.permits(ApiKey::SaslHandshake, 0).is_err());
        told
    };
    assert_eq!(told(b"\0bob\0wrong"), told(b"\0nobody\0builder"));
    assert!(told(b"\0nobody\0\0").contains("3 tokens"));
    assert!(told(b"alice\0bob\0builder").contains("authorization id"));
    assert!(told(b"\0\0x").contains("username not specified"));
    assert!(told(b"\0nobody\0").contains("password not specified"));
    for mechanism in SCRAM {
        let scram = |user, salted| {
            let mut rig = Rig::new(&SCRAM, 0);
            rig.scram(mechanism, user, salted).unwrap_err()
        };
        assert_eq!(scram("a=2Cli=3Dce", WRONG), scram("nobody", SALTED));
    }
}

#[test]
fn scram_proves_both_ends() {
    for mechanism in SCRAM {
        let mut rig = Rig::new(&SCRAM, 0);
        let challenge = rig.scram(mechanism, "a=2Cli=3Dce", SALTED).unwrap();
        assert_eq!(challenge, "r=clientserver,s=c2FsdA==,i=8192");
        assert_eq!(rig.name().as_deref(), Some("User:a,li=ce"));
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

#[test]
fn strangers_have_salts_as_users_do() {
    let challenge = |user: &str| {
        let mut rig = Rig::new(&SCRAM, 0);
        rig.handshake("SCRAM-SHA-256");
        rig.say(format!("n,,n={user},r=client").as_bytes()).unwrap().auth_bytes
    };
    assert_eq!(challenge("x"), challenge("x"), "the same each time");
    assert_ne!(challenge("x"), challenge("y"));
}

#[test]
fn only_enabled_mechanisms_can_be_chosen() {
    let mut rig = Rig::new(&[Mechanism::Plain], 0);
    assert_eq!(rig.handshake("SCRAM-SHA-256"), (ErrorCode::UnsupportedSaslMechanism, true));
    assert_eq!(rig.handshake("PLAIN"), (ErrorCode::IllegalSaslState, true));
    let mut rig = Rig::new(&[Mechanism::Plain], 0);
    assert!(rig.say(b"\0bob\0builder").unwrap_err().contains("without SaslHandshake"));
}

#[test]
fn a_session_ends_unless_the_same_user_comes_again() {
    let mut rig = Rig::new(&[Mechanism::Plain, Mechanism::ScramSha256], 5_000);
    rig.handshake("PLAIN");
    assert_eq!(rig.say(b"\0bob\0builder").unwrap().session_lifetime_ms, 5_000);
    rig.now_ms += 4_000;
    assert_eq!(rig.handshake("PLAIN"), (ErrorCode::None, false));
    assert!(rig.may_fetch().is_err(), "it is authenticating");
    rig.say(b"\0bob\0builder").unwrap();
    rig.now_ms += 4_999;
    assert_eq!(rig.may_fetch(), Ok(()));
    rig.now_ms += 1;
    assert_eq!(rig.may_fetch(), Err("the session has expired"));
    assert!(rig.scram(Mechanism::ScramSha256, "a=2Cli=3Dce", SALTED).is_err(), "another user");
    let mut rig = Rig::new(&[Mechanism::Plain], 5_000);
    rig.handshake("PLAIN");
    rig.say(b"\0bob\0builder").unwrap();
    assert_eq!(rig.handshake("PLAIN"), (ErrorCode::None, false), "at once, if it likes");
    rig.say(b"\0bob\0builder").unwrap();
    assert_eq!(rig.handshake("PLAIN"), (ErrorCode::IllegalSaslState, true), "again too soon");
}

proptest! {
    /// Nothing that is said without a password lets anybody in, and nothing is too strange.
    #[test]
    fn no_words_open_the_door(
        steps in prop::collection::vec(
            (0..5usize, prop::collection::vec(any::<u8>(), 0..60)), 1..6,
        ),
    ) {
        let mut rig = Rig::new(&Mechanism::ALL, 5_000);
        for (kind, bytes) in steps {
            let text = String::from_utf8_lossy(&bytes).into_owned();
            match kind {
                0 => drop(rig.handshake("PLAIN")),
                1 => drop(rig.handshake("SCRAM-SHA-512")),
                2 => drop(rig.say(&bytes)),
                3 => drop(rig.say(format!("n,,n={text},r={text}").as_bytes())),
                _ => drop(rig.say(format!("c=biws,r=clientserver,p={text}").as_bytes())),
            }
            prop_assert!(rig.name().is_none() && rig.may_fetch().is_err());
        }
    }
}
