//! The connecting end.

use std::fmt;
use std::io;
use std::sync::Arc;

use base::tls::TlsSettings;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, Error, SignatureScheme};
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, TlsStream};

use crate::material::{TlsError, pair, provider, roots, versions};
use crate::reload::{Outcome, Reloadable};
use crate::socket::Socket;
use crate::stream::Stream;

/// Makes streams of sockets that were connected. Cheap to clone; clones share what is reloaded.
#[derive(Clone, Default)]
pub enum Connector {
    #[default]
    Plain,
    Tls(Tls),
}

/// The settings as rustls wants them.
#[derive(Clone)]
pub struct Tls(Arc<Reloadable<ClientConfig>>);

impl fmt::Debug for Connector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Connector::Plain => "Plain",
            Connector::Tls(_) => "Tls",
        })
    }
}

impl Connector {
    /// Reads the files that the settings name. The identity, if there is one, is shown to servers
    /// that ask for a certificate.
    pub fn tls(settings: TlsSettings) -> Result<Connector, TlsError> {
        Ok(Connector::Tls(Tls(Arc::new(Reloadable::new(settings, client_config)?))))
    }

    /// Looks whether the files changed. Blocks on the disk.
    pub fn refresh(&self) -> Outcome {
        match self {
            Connector::Plain => Outcome::Unchanged,
            Connector::Tls(Tls(config)) => config.refresh(),
        }
    }

    /// Shakes hands with `host`. The caller limits the time.
    pub async fn connect(&self, tcp: TcpStream, host: &str) -> io::Result<Stream> {
        let Connector::Tls(Tls(config)) = self else { return Ok(Stream::Plain(tcp)) };
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let name = ServerName::try_from(host)
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
        let shaking = TlsConnector::from(config.current()).connect(name, Socket::new(tcp));
        Ok(Stream::Tls(Box::new(TlsStream::Client(shaking.await?))))
    }
}

fn client_config(settings: &TlsSettings) -> Result<ClientConfig, TlsError> {
    let builder = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&versions(settings))?;
    let trust = settings.trust.as_ref().ok_or(TlsError::NoTrust)?;
    let verifier = WebPkiServerVerifier::builder_with_provider(roots(trust)?, provider());
    let verifier = verifier.build().map_err(|e| TlsError::Verifier(e.to_string()))?;
    let builder = match settings.verifies_names {
        true => builder.with_webpki_verifier(verifier),
        false => builder.dangerous().with_custom_certificate_verifier(Arc::new(AnyName(verifier))),
    };
    match &settings.identity {
        None => Ok(builder.with_no_client_auth()),
        Some(identity) => {
            let (chain, key) = pair(identity)?;
            let config = builder.with_client_auth_cert(chain, key);
            config.map_err(|e| TlsError::Identity(identity.chain.clone(), e))
        }
    }
}

/// Verifies everything but the name: `ssl.endpoint.identification.algorithm` is empty.
#[derive(Debug)]
struct AnyName(Arc<WebPkiServerVerifier>);

impl ServerCertVerifier for AnyName {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        // The name is what is verified last.
        let verified =
            self.0.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now);
        match verified {
            Err(Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) => Ok(ServerCertVerified::assertion()),
            verified => verified,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.0.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.0.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_verify_schemes()
    }
}
