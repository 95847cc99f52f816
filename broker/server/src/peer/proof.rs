//! How brokers prove to each other, on a connection in Kafka's protocol, that they are brokers.
//!
//! The frames are those of SASL: `SaslHandshake` names the mechanism `BARNABAS-BROKER`, and two
//! rounds of `SaslAuthenticate` carry the challenge and the proofs of `quorum::secret`, in fixed
//! widths. Both ends prove. It is offered on the listener of the brokers only; anywhere else
//! `SaslHandshake` is answered as Kafka answers it on a listener without SASL.
//!
//! | round | request | response |
//! |---|---|---|
//! | 1 | version (u8), node (u64), nonce (32 bytes) | nonce (32 bytes), proof (32 bytes) |
//! | 2 | proof (32 bytes) | nothing |

use base::{BrokerId, ErrorCode, TopicId};
use bytes::Bytes;
use quorum::secret::{End, Exchange, Guard, Nonce, Proof, Purpose, Secret, Side};
use wire::messages::{
    ApiVersionsRequest, ApiVersionsResponse, SaslAuthenticateRequest, SaslAuthenticateResponse,
    SaslHandshakeRequest, SaslHandshakeResponse,
};
use wire::{ApiKey, Request, Str};

pub const MECHANISM: &str = "BARNABAS-BROKER";
pub const HANDSHAKE_VERSION: i16 = 1;
pub const AUTHENTICATE_VERSION: i16 = 2;
/// The first one, which asks for nothing.
const API_VERSIONS_VERSION: i16 = 0;

const VERSION: u8 = 1;
const WIDTH: usize = 32;

/// Why the other end is not believed.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ProofError {
    #[error("the proof of the brokers' secret was refused: {0:?} {1}")]
    Refused(ErrorCode, String),
    #[error("the other broker has another barnabas.internal.secret.file")]
    OtherSecret,
    #[error("the other broker's message cannot be read")]
    Unreadable,
}

/// Whether the other end is of a version that knows of this.
fn is_served(versions: &ApiVersionsResponse) -> bool {
    versions.api_keys.iter().any(|api| api.api_key == ApiKey::SaslAuthenticate.code())
}

fn end(node: i32, nonce: Nonce) -> End {
    End { node: u64::from(node.unsigned_abs()), directory: TopicId::ZERO, incarnation: 0, nonce }
}

fn exchange(cluster_id: &str, client: End, server: End) -> Exchange<'_> {
    Exchange { purpose: Purpose::Replication, cluster_id, client, server }
}

fn split(bytes: &[u8]) -> Option<([u8; WIDTH], &[u8])> {
    bytes.split_first_chunk().map(|(first, rest)| (*first, rest))
}

/// A connection to another broker, before it is used for anything else.
pub(super) trait Asks {
    type Error: From<ProofError>;

    async fn ask<R: Request>(
        &mut self,
        request: &R,
        version: i16,
    ) -> Result<R::Response, Self::Error>;
}

/// The asking end.
#[derive(Debug)]
pub struct Prover<'a> {
    guard: &'a Guard,
    secret: &'a Secret,
    cluster_id: String,
    client: End,
    server: BrokerId,
}

impl<'a> Prover<'a> {
    /// `None`: this broker has no secret, and proves nothing.
    pub fn new(
        guard: &'a Guard,
        cluster_id: String,
        own: BrokerId,
        server: BrokerId,
    ) -> Option<Prover<'a>> {
        let secret = guard.secret()?;
        let client = end(own.0, Nonce::random());
        Some(Prover { guard, secret, cluster_id, client, server })
    }

    /// Proves to the other end that a broker asks, and has it prove the same.
    pub(super) async fn prove<A: Asks>(&self, connection: &mut A) -> Result<(), A::Error> {
        if self.may_be_unknown() {
            let request = ApiVersionsRequest::default();
            if !is_served(&connection.ask(&request, API_VERSIONS_VERSION).await?) {
                return Ok(());
            }
        }
        let offered = connection.ask(&self.handshake(), HANDSHAKE_VERSION).await?;
        if !self.is_offered(&offered)? {
            return Ok(());
        }
        let challenge = connection.ask(&self.first(), AUTHENTICATE_VERSION).await?;
        let answer = connection.ask(&self.second(&challenge)?, AUTHENTICATE_VERSION).await?;
        Ok(self.accepted(&answer)?)
    }

    /// Whether the other end may be of a version that knows nothing of this, so that it has to be
    /// asked first what it serves.
    pub fn may_be_unknown(&self) -> bool {
        !self.guard.is_strict()
    }

    pub fn handshake(&self) -> SaslHandshakeRequest {
        SaslHandshakeRequest { mechanism: Str::from(MECHANISM) }
    }

    /// False where the other end has no secret, which only a lenient one puts up with.
    pub fn is_offered(&self, response: &SaslHandshakeResponse) -> Result<bool, ProofError> {
        match ErrorCode::from_i16(response.error_code) {
            Some(ErrorCode::None) => Ok(true),
            _ if self.may_be_unknown() => Ok(false),
            code => Err(refused(code, "it does not know the mechanism")),
        }
    }

    pub fn first(&self) -> SaslAuthenticateRequest {
        let node = self.client.node.to_be_bytes();
        let bytes = [&[VERSION][..], &node, &self.client.nonce.0].concat();
        SaslAuthenticateRequest { auth_bytes: Bytes::from(bytes) }
    }

    /// The second request, once the other end has proved itself.
    pub fn second(
        &self,
        challenge: &SaslAuthenticateResponse,
    ) -> Result<SaslAuthenticateRequest, ProofError> {
        self.accepted(challenge)?;
        let (nonce, rest) = split(&challenge.auth_bytes).ok_or(ProofError::Unreadable)?;
        let (proof, _) = split(rest).ok_or(ProofError::Unreadable)?;
        let said = exchange(&self.cluster_id, self.client, end(self.server.0, Nonce(nonce)));
        if !self.secret.verify(&said, Side::Server, &Proof(proof)) && self.guard.is_strict() {
            return Err(ProofError::OtherSecret);
        }
        let proof = self.secret.prove(&said, Side::Client);
        Ok(SaslAuthenticateRequest { auth_bytes: Bytes::copy_from_slice(&proof.0) })
    }

    pub fn accepted(&self, response: &SaslAuthenticateResponse) -> Result<(), ProofError> {
        match ErrorCode::from_i16(response.error_code) {
            Some(ErrorCode::None) => Ok(()),
            code => Err(refused(code, response.error_message.as_deref().unwrap_or_default())),
        }
    }
}

fn refused(code: Option<ErrorCode>, message: &str) -> ProofError {
    ProofError::Refused(code.unwrap_or(ErrorCode::UnknownServerError), message.to_owned())
}

/// How far the other end of a connection is with its proof.
#[derive(Debug, Default)]
pub enum Proving {
    #[default]
    Nothing,
    Asked,
    Challenged {
        client: End,
        server: Nonce,
    },
    Proved(BrokerId),
    /// Not tried again on this connection.
    Failed,
}

impl Proving {
    /// A proof has begun.
    pub fn is_under_way(&self) -> bool {
        matches!(self, Proving::Asked | Proving::Challenged { .. })
    }

    pub fn proved(&self) -> Option<BrokerId> {
        match self {
            Proving::Proved(id) => Some(*id),
            _ => None,
        }
    }

    /// `secret`: of this broker, on the listener where proofs are asked for.
    pub fn handshake(
        &mut self,
        secret: Option<&Secret>,
        request: &SaslHandshakeRequest,
    ) -> SaslHandshakeResponse {
        let is_begin = matches!(self, Proving::Nothing) && secret.is_some();
        if !is_begin {
            let error_code = ErrorCode::IllegalSaslState.code();
            return SaslHandshakeResponse { error_code, mechanisms: Vec::new() };
        }
        let mechanisms = vec![Str::from(MECHANISM)];
        if &*request.mechanism != MECHANISM {
            let error_code = ErrorCode::UnsupportedSaslMechanism.code();
            return SaslHandshakeResponse { error_code, mechanisms };
        }
        *self = Proving::Asked;
        SaslHandshakeResponse { error_code: ErrorCode::None.code(), mechanisms }
    }

    pub fn authenticate(
        &mut self,
        secret: Option<&Secret>,
        cluster_id: &str,
        own: BrokerId,
        request: &SaslAuthenticateRequest,
    ) -> SaslAuthenticateResponse {
        let Some(secret) = secret else { return failed(ErrorCode::IllegalSaslState, NOT_ASKED) };
        let message = &request.auth_bytes[..];
        match std::mem::replace(self, Proving::Failed) {
            Proving::Asked => {
                let Some(client) = introduction(message) else {
                    return failed(ErrorCode::SaslAuthenticationFailed, "unreadable");
                };
                let nonce = Nonce::random();
                let said = exchange(cluster_id, client, end(own.0, nonce));
                let proof = secret.prove(&said, Side::Server);
                *self = Proving::Challenged { client, server: nonce };
                answer([nonce.0, proof.0].concat())
            }
            Proving::Challenged { client, server } => {
                let said = exchange(cluster_id, client, end(own.0, server));
                let proof = message.try_into().map(Proof);
                if !proof.is_ok_and(|proof| secret.verify(&said, Side::Client, &proof)) {
                    return failed(ErrorCode::SaslAuthenticationFailed, "another secret");
                }
                *self = Proving::Proved(BrokerId(client.node as i32));
                answer(Vec::new())
            }
            before @ (Proving::Nothing | Proving::Proved(_) | Proving::Failed) => {
                *self = before;
                failed(ErrorCode::IllegalSaslState, NOT_ASKED)
            }
        }
    }
}

const NOT_ASKED: &str = "SaslAuthenticate without SaslHandshake before it";

fn introduction(message: &[u8]) -> Option<End> {
    let (&version, rest) = message.split_first()?;
    let (node, nonce) = rest.split_first_chunk()?;
    let node = i32::try_from(u64::from_be_bytes(*node)).ok()?;
    let nonce = nonce.try_into().ok().map(Nonce)?;
    (version == VERSION).then(|| end(node, nonce))
}

fn answer(bytes: Vec<u8>) -> SaslAuthenticateResponse {
    SaslAuthenticateResponse { auth_bytes: Bytes::from(bytes), ..Default::default() }
}

fn failed(code: ErrorCode, message: &str) -> SaslAuthenticateResponse {
    SaslAuthenticateResponse {
        error_code: code.code(),
        error_message: Some(Str::from(message)),
        ..Default::default()
    }
}

#[cfg(test)]
#[path = "proof_tests.rs"]
mod tests;
