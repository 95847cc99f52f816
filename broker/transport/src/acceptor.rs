//! The accepting end.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use base::tls::{ClientAuth, TlsSettings};
use rustls::ServerConfig;
use rustls::crypto::ring::Ticketer;
use rustls::server::WebPkiClientVerifier;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::{TlsAcceptor, TlsStream};

use crate::material::{TlsError, pair, provider, roots, versions};
use crate::reload::{Outcome, Reloadable};
use crate::socket::Socket;
use crate::stream::Stream;

/// How long others may take.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// To the first byte; `None` for ever.
    pub silence: Option<Duration>,
    /// From there to the end of the handshake.
    pub handshake: Duration,
}

/// Why a connection did not come to be.
#[derive(Debug, thiserror::Error)]
pub enum HandshakeError {
    #[error("nothing came")]
    Silent,
    #[error("the TLS handshake took too long")]
    Slow,
    #[error("the TLS handshake failed: {0}")]
    Failed(io::Error),
}

/// Makes streams of accepted sockets. Cheap to clone; clones share what is reloaded.
#[derive(Clone)]
pub enum Acceptor {
    Plain,
    Tls(Tls),
}

/// The settings of a listener as rustls wants them.
#[derive(Clone)]
pub struct Tls(Arc<Reloadable<ServerConfig>>);

impl fmt::Debug for Acceptor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_tls() { "Tls" } else { "Plain" })
    }
}

impl Acceptor {
    /// Reads the files that the settings name.
    pub fn tls(settings: TlsSettings) -> Result<Acceptor, TlsError> {
        Ok(Acceptor::Tls(Tls(Arc::new(Reloadable::new(settings, server_config)?))))
    }

    pub fn is_tls(&self) -> bool {
        matches!(self, Acceptor::Tls(_))
    }

    /// Looks whether the files changed. Blocks on the disk.
    pub fn refresh(&self) -> Outcome {
        match self {
            Acceptor::Plain => Outcome::Unchanged,
            Acceptor::Tls(Tls(config)) => config.refresh(),
        }
    }

    /// Shakes hands. Until the first byte comes, a silent socket holds nothing but itself.
    pub async fn accept(
        &self,
        tcp: TcpStream,
        patience: Patience,
    ) -> Result<Stream, HandshakeError> {
        let Acceptor::Tls(Tls(config)) = self else { return Ok(Stream::Plain(tcp)) };
        let mut first = [0];
        let first = tcp.peek(&mut first);
        let first = match patience.silence {
            Some(limit) => timeout(limit, first).await.map_err(|_| HandshakeError::Silent)?,
            None => first.await,
        };
        first.map_err(HandshakeError::Failed)?;
        let shaking = TlsAcceptor::from(config.current()).accept(Socket::new(tcp));
        let stream =
            timeout(patience.handshake, shaking).await.map_err(|_| HandshakeError::Slow)?;
        let stream = stream.map_err(HandshakeError::Failed)?;
        Ok(Stream::Tls(Box::new(TlsStream::Server(stream))))
    }
}

fn server_config(settings: &TlsSettings) -> Result<ServerConfig, TlsError> {
    let builder = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&versions(settings))?;
    let builder = match settings.client_auth {
        ClientAuth::None => builder.with_no_client_auth(),
        auth => {
            let trust = settings.trust.as_ref().ok_or(TlsError::NoTrust)?;
            let verifier = WebPkiClientVerifier::builder_with_provider(roots(trust)?, provider());
            let verifier = match auth {
                ClientAuth::Requested => verifier.allow_unauthenticated(),
                _ => verifier,
            };
            let verifier = verifier.build().map_err(|e| TlsError::Verifier(e.to_string()))?;
            builder.with_client_cert_verifier(verifier)
        }
    };
    let identity = settings.identity.as_ref().ok_or(TlsError::NoIdentity)?;
    let (chain, key) = pair(identity)?;
    let config = builder.with_single_cert(chain, key);
    let mut config = config.map_err(|e| TlsError::Identity(identity.chain.clone(), e))?;
    // Sessions are resumed by tickets, which hold no memory here. Their key goes with this config,
    // so whoever is no longer trusted after a reload has to come with a certificate.
    config.ticketer = Ticketer::new()?;
    Ok(config)
}
