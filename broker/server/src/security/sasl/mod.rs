//! SASL of one connection, without a socket or a clock: requests go in with the time, answers come
//! out. Until somebody is authenticated, a connection is asked for nothing else; afterwards it may
//! authenticate again (KIP-368), and has to before its session ends.

mod digest;
mod plain;
mod scram;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
#[cfg(test)]
mod tests;

use base::{ErrorCode, Principal};
use bytes::Bytes;
use config::{Mechanism, SaslConfig};
use metadata::{ScramCredential, ScramMechanism};
use wire::messages::{
    SaslAuthenticateRequest, SaslAuthenticateResponse, SaslHandshakeRequest, SaslHandshakeResponse,
};
use wire::{ApiKey, Str};

pub use plain::Users;
pub use scram::{Unknown, keys};

/// Between one authentication again and the next: a client does something else in between.
const REAUTHENTICATION_MS_MIN: i64 = 1_000;
const NOT_ASKED: &str = "SaslAuthenticate without SaslHandshake before it";
const TOO_LONG: &str = "the message is longer than sasl.server.max.receive.size";

/// What the answers depend on.
pub struct World<'a> {
    pub config: &'a SaslConfig,
    /// Of PLAIN.
    pub users: &'a Users,
    /// The credential of a user for a mechanism.
    pub scram: &'a dyn Fn(ScramMechanism, &str) -> Option<ScramCredential>,
    /// Makes those who are not known look like users.
    pub unknown: &'a Unknown,
    pub now_ms: i64,
    /// Random, and new for each message.
    pub nonce: &'a str,
}

/// An answer, and whether the connection ends with it.
#[derive(Clone, PartialEq, Debug)]
pub struct Answer<R> {
    pub response: R,
    pub is_end: bool,
}

/// Why somebody is not who they say. The text is for the client, and tells nothing of users.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Refused(String);

#[derive(Debug, Default)]
enum State {
    #[default]
    Start,
    Chosen(Mechanism),
    Challenged(Box<scram::Challenge>),
    /// As `Sasl::session` says.
    Done,
    Failed,
}

#[derive(Clone, Debug)]
struct Session {
    principal: Principal,
    mechanism: Mechanism,
    /// When it authenticated again last.
    again_ms: Option<i64>,
    expires_ms: Option<i64>,
}

/// How far the other end of a connection is.
#[derive(Debug, Default)]
pub struct Sasl {
    state: State,
    session: Option<Session>,
}

impl Sasl {
    /// Who authenticated.
    pub fn principal(&self) -> Option<&Principal> {
        self.session.as_ref().map(|session| &session.principal)
    }

    /// Whether this API may be asked for now; if not, why the connection ends.
    pub fn permits(&self, api: ApiKey, now_ms: i64) -> Result<(), &'static str> {
        if matches!(api, ApiKey::ApiVersions | ApiKey::SaslHandshake | ApiKey::SaslAuthenticate) {
            return match self.state {
                State::Failed => Err("authentication failed"),
                _ => Ok(()),
            };
        }
        match (&self.state, &self.session) {
            (State::Done, Some(session)) => match session.expires_ms {
                Some(end) if end <= now_ms => Err("the session has expired"),
                _ => Ok(()),
            },
            _ => Err("a request before authentication"),
        }
    }

    pub fn handshake(
        &mut self,
        world: &World<'_>,
        request: &SaslHandshakeRequest,
    ) -> Answer<SaslHandshakeResponse> {
        let is_begin = match (&self.state, &self.session) {
            (State::Start, _) => true,
            (State::Done, Some(session)) => {
                session.again_ms.is_none_or(|at| world.now_ms - at >= REAUTHENTICATION_MS_MIN)
            }
            _ => false,
        };
        if !is_begin {
            self.state = State::Failed;
            let error_code = ErrorCode::IllegalSaslState.code();
            let response = SaslHandshakeResponse { error_code, mechanisms: Vec::new() };
            return Answer { response, is_end: true };
        }
        let enabled = &world.config.mechanisms;
        let mechanisms = enabled.iter().map(|enabled| Str::from(enabled.name())).collect();
        let chosen = Mechanism::from_name(&request.mechanism);
        let (code, state) = match chosen.filter(|chosen| enabled.contains(chosen)) {
            Some(mechanism) => (ErrorCode::None, State::Chosen(mechanism)),
            None => (ErrorCode::UnsupportedSaslMechanism, State::Failed),
        };
        let is_end = matches!(state, State::Failed);
        self.state = state;
        Answer { response: SaslHandshakeResponse { error_code: code.code(), mechanisms }, is_end }
    }

    pub fn authenticate(
        &mut self,
        world: &World<'_>,
        request: &SaslAuthenticateRequest,
    ) -> Answer<SaslAuthenticateResponse> {
        let message = &request.auth_bytes[..];
        if message.len() > world.config.request_bytes_max {
            // Frames may be long by now, where somebody authenticates again.
            self.state = State::Failed;
            return failed(ErrorCode::SaslAuthenticationFailed, TOO_LONG);
        }
        // What fails is not tried again on this connection.
        let step = match std::mem::replace(&mut self.state, State::Failed) {
            State::Chosen(mechanism) => match mechanism.scram() {
                None => world
                    .users
                    .verify(message)
                    .and_then(|user| self.done(world, mechanism, user, Vec::new())),
                Some(scram) => scram::first(world, mechanism, scram, message).map(|challenge| {
                    let auth_bytes = Bytes::from(challenge.message().to_owned());
                    self.state = State::Challenged(Box::new(challenge));
                    SaslAuthenticateResponse { auth_bytes, ..Default::default() }
                }),
            },
            State::Challenged(challenge) => challenge
                .answer(message)
                .and_then(|proof| self.done(world, challenge.mechanism, challenge.user, proof)),
            State::Start | State::Done | State::Failed => {
                return failed(ErrorCode::IllegalSaslState, NOT_ASKED);
            }
        };
        match step {
            Ok(response) => Answer { response, is_end: false },
            Err(Refused(why)) => failed(ErrorCode::SaslAuthenticationFailed, &why),
        }
    }

    fn done(
        &mut self,
        world: &World<'_>,
        mechanism: Mechanism,
        user: String,
        proof: Vec<u8>,
    ) -> Result<SaslAuthenticateResponse, Refused> {
        let principal = Principal::user(user);
        if let Some(before) = &self.session {
            if before.principal != principal {
                return Err(Refused("Cannot change principals during re-authentication".into()));
            }
            if before.mechanism != mechanism {
                return Err(Refused("Cannot change the mechanism of SASL".into()));
            }
        }
        let most = world.config.reauth_ms_max.get(&mechanism).copied().unwrap_or(0);
        let lifetime_ms = i64::try_from(most).unwrap_or(i64::MAX);
        let expires_ms = (most > 0).then(|| world.now_ms.saturating_add(lifetime_ms));
        let again_ms = self.session.is_some().then_some(world.now_ms);
        let session = Session { principal, mechanism, again_ms, expires_ms };
        (self.session, self.state) = (Some(session), State::Done);
        Ok(SaslAuthenticateResponse {
            auth_bytes: Bytes::from(proof),
            session_lifetime_ms: lifetime_ms,
            ..Default::default()
        })
    }
}

fn failed(code: ErrorCode, message: &str) -> Answer<SaslAuthenticateResponse> {
    let response = SaslAuthenticateResponse {
        error_code: code.code(),
        error_message: Some(Str::from(message)),
        ..Default::default()
    };
    Answer { response, is_end: true }
}
