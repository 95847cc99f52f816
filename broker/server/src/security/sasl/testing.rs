//! A conversation of SASL without a socket, and users to have it with: for tests, and for the
//! fuzzer.
#![allow(clippy::unwrap_used, reason = "for tests")]

use std::collections::BTreeMap;

use base::{ErrorCode, Principal};
use bytes::Bytes;
use config::{Mechanism, Password, SaslConfig};
use metadata::{ScramCredential, ScramMechanism};
use wire::ApiKey;
use wire::messages::{SaslAuthenticateRequest, SaslAuthenticateResponse, SaslHandshakeRequest};

use super::{Sasl, Unknown, Users, World, scram};

/// The only user of SCRAM, as the user's first message has its name, and as it is.
pub const USER: &str = "a=2Cli=3Dce";
pub const USER_NAME: &str = "a,li=ce";
pub const SALTED: &[u8] = b"a password with salt";
/// The only user of PLAIN, with its password.
pub const PLAIN: &[u8] = b"\0bob\0builder";
/// What the server adds to a client's nonce.
pub const NONCE: &str = "server";
/// As Kafka's tools make it.
pub const SALT: &[u8] = b"1hbyc4t1vu2oc8xd9n5m3t2xnq";

/// One connection.
pub struct Talk {
    config: SaslConfig,
    users: Users,
    unknown: Unknown,
    sasl: Sasl,
    pub now_ms: i64,
}

impl Default for Talk {
    fn default() -> Talk {
        Talk::new(&Mechanism::ALL, 5_000)
    }
}

fn credential(mechanism: ScramMechanism, user: &str) -> Option<ScramCredential> {
    let known = || {
        let (stored, server) = scram::keys(mechanism, SALTED);
        ScramCredential {
            salt: SALT.into(),
            stored_key: stored.into(),
            server_key: server.into(),
            iterations: 8192,
        }
    };
    (user == USER_NAME).then(known)
}

impl Talk {
    pub fn new(mechanisms: &[Mechanism], reauth_ms: u64) -> Talk {
        let config = SaslConfig {
            mechanisms: mechanisms.to_vec(),
            users: BTreeMap::from([("bob".to_owned(), Password::new("builder"))]),
            reauth_ms_max: mechanisms.iter().map(|mechanism| (*mechanism, reauth_ms)).collect(),
            request_bytes_max: 8192,
        };
        let (users, unknown) = (Users::new(&config.users), Unknown::new([3; 32]));
        Talk { config, users, unknown, sasl: Sasl::default(), now_ms: 1_000 }
    }

    fn ask<R>(&mut self, ask: impl FnOnce(&mut Sasl, &World<'_>) -> R) -> R {
        // Looked up before: what a test hashes to make a user is not the server's work.
        let all =
            ScramMechanism::ALL.map(|mechanism| (mechanism, credential(mechanism, USER_NAME)));
        #[cfg(test)]
        super::digest::work::take();
        let world = World {
            config: &self.config,
            users: &self.users,
            scram: &|wanted, user| {
                let of = all.iter().find(|(mechanism, _)| *mechanism == wanted);
                of.and_then(|(_, credential)| credential.clone()).filter(|_| user == USER_NAME)
            },
            unknown: &self.unknown,
            now_ms: self.now_ms,
            nonce: NONCE,
        };
        ask(&mut self.sasl, &world)
    }

    /// The error, and whether the connection ends.
    pub fn handshake(&mut self, mechanism: &str) -> (ErrorCode, bool) {
        let request = SaslHandshakeRequest { mechanism: mechanism.into() };
        let answer = self.ask(|sasl, world| sasl.handshake(world, &request));
        (ErrorCode::from_i16(answer.response.error_code).unwrap(), answer.is_end)
    }

    /// The answer, or the error's message with the connection's end.
    pub fn say(&mut self, message: &[u8]) -> Result<SaslAuthenticateResponse, String> {
        let request = SaslAuthenticateRequest { auth_bytes: Bytes::copy_from_slice(message) };
        let answer = self.ask(|sasl, world| sasl.authenticate(world, &request));
        assert_eq!(answer.is_end, answer.response.error_code != 0);
        match answer.is_end {
            false => Ok(answer.response),
            true => Err(answer.response.error_message.unwrap().to_string()),
        }
    }

    pub fn may_fetch(&self) -> Result<(), &'static str> {
        self.permits(ApiKey::Fetch)
    }

    pub fn permits(&self, api: ApiKey) -> Result<(), &'static str> {
        self.sasl.permits(api, self.now_ms)
    }

    /// Who authenticated.
    pub fn name(&self) -> Option<String> {
        self.sasl.principal().map(Principal::to_string)
    }
}

/// The last message of a client of SCRAM that has a salted password. `first` is its first message
/// without the header.
pub fn last(mechanism: &str, salted: &[u8], first: &str, challenge: &str) -> String {
    let mechanism = Mechanism::from_name(mechanism).and_then(Mechanism::scram).unwrap();
    let nonce = challenge.split_once(',').map_or(challenge, |(nonce, _)| nonce);
    let nonce = nonce.strip_prefix("r=").unwrap_or_default();
    scram::client_last(mechanism, salted, first, challenge, nonce)
}
