//! What a configuration says of TLS, as data: `config` reads it, `transport` acts upon it.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

/// PEM, in a file or as the text itself.
#[derive(Clone, PartialEq, Eq)]
pub enum Pem {
    File(PathBuf),
    Text(Arc<str>),
}

impl fmt::Debug for Pem {
    /// A text may be a private key: it is never shown.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Pem::File(path) => write!(f, "{}", path.display()),
            Pem::Text(_) => f.write_str("[hidden]"),
        }
    }
}

impl Pem {
    pub fn file(&self) -> Option<&PathBuf> {
        match self {
            Pem::File(path) => Some(path),
            Pem::Text(_) => None,
        }
    }
}

/// A certificate chain, the leaf first, with the key of the leaf. Both may be in one file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TlsIdentity {
    pub chain: Pem,
    pub key: Pem,
}

/// `ssl.client.auth`
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum ClientAuth {
    #[default]
    None,
    /// A certificate is asked for; who has none is anonymous.
    Requested,
    Required,
}

/// The TLS of one listener, and of connections to the same listener of other brokers.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TlsSettings {
    /// The server's; the client's too, where it is asked for a certificate.
    pub identity: Option<TlsIdentity>,
    /// The authorities whose certificates are believed.
    pub trust: Option<Pem>,
    pub client_auth: ClientAuth,
    /// `ssl.enabled.protocols`; at least one of them.
    pub tls12: bool,
    pub tls13: bool,
    /// Whether a server's certificate has to have the name that it is connected by.
    pub verifies_names: bool,
}
