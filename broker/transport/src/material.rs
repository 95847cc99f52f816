//! Certificates, keys and authorities out of PEM.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use base::tls::{Pem, TlsIdentity, TlsSettings};
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{RootCertStore, SupportedProtocolVersion};
use zeroize::Zeroizing;

/// A file of a chain or of authorities is a few kilobytes; one with many is not a megabyte.
const PEM_BYTES_MAX: u64 = 4 << 20;
const ENCRYPTED: &[u8] = b"ENCRYPTED PRIVATE KEY";
const LEGACY_ENCRYPTED: &[u8] = b"Proc-Type: 4,ENCRYPTED";

/// Why the TLS of a configuration does not work. No message has a byte of a key.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    #[error("cannot read {path}: {error}")]
    File { path: PathBuf, error: std::io::Error },
    #[error("{0:?} is longer than 4 MiB")]
    TooLong(Pem),
    #[error("{0:?} has no certificate in PEM")]
    NoCertificate(Pem),
    #[error("{0:?} has no private key in PEM")]
    NoKey(Pem),
    #[error(
        "the private key in {0:?} is encrypted, which is not supported: \
         openssl pkcs8 -topk8 -nocrypt -in key.pem -out plain.pem decrypts it"
    )]
    EncryptedKey(Pem),
    #[error("{0:?} is no PEM")]
    Malformed(Pem),
    #[error("an authority in {pem:?} cannot be used: {error}")]
    Authority { pem: Pem, error: rustls::Error },
    #[error("a server needs a certificate and its key (ssl.keystore.*)")]
    NoIdentity,
    #[error("certificates of others are verified by authorities (ssl.truststore.*)")]
    NoTrust,
    #[error("the certificate of {0:?} and its key cannot be used: {1}")]
    Identity(Pem, rustls::Error),
    #[error("{0}")]
    Verifier(String),
    #[error(transparent)]
    Rustls(#[from] rustls::Error),
}

pub(crate) fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

pub(crate) fn versions(settings: &TlsSettings) -> Vec<&'static SupportedProtocolVersion> {
    let of = |is_on, version| if is_on { Some(version) } else { None };
    let both =
        [of(settings.tls13, &rustls::version::TLS13), of(settings.tls12, &rustls::version::TLS12)];
    both.into_iter().flatten().collect()
}

/// The bytes, cleared when they are dropped: they may be a key.
fn bytes(pem: &Pem) -> Result<Zeroizing<Vec<u8>>, TlsError> {
    let path = match pem {
        Pem::Text(text) => return Ok(Zeroizing::new(text.as_bytes().to_vec())),
        Pem::File(path) => path,
    };
    let file = |error| TlsError::File { path: path.clone(), error };
    if fs::metadata(path).map_err(file)?.len() > PEM_BYTES_MAX {
        return Err(TlsError::TooLong(pem.clone()));
    }
    fs::read(path).map(Zeroizing::new).map_err(file)
}

fn certificates(pem: &Pem) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let bytes = bytes(pem)?;
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&bytes).collect();
    let all = all.map_err(|_| TlsError::Malformed(pem.clone()))?;
    if all.is_empty() {
        return Err(TlsError::NoCertificate(pem.clone()));
    }
    Ok(all)
}

fn key(pem: &Pem) -> Result<PrivateKeyDer<'static>, TlsError> {
    let bytes = bytes(pem)?;
    let has = |what: &[u8]| bytes.windows(what.len()).any(|window| window == what);
    if has(ENCRYPTED) || has(LEGACY_ENCRYPTED) {
        return Err(TlsError::EncryptedKey(pem.clone()));
    }
    PrivateKeyDer::from_pem_slice(&bytes).map_err(|error| match error {
        pem::Error::NoItemsFound => TlsError::NoKey(pem.clone()),
        _ => TlsError::Malformed(pem.clone()),
    })
}

pub(crate) type Pair = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

pub(crate) fn pair(identity: &TlsIdentity) -> Result<Pair, TlsError> {
    Ok((certificates(&identity.chain)?, key(&identity.key)?))
}

pub(crate) fn roots(trust: &Pem) -> Result<Arc<RootCertStore>, TlsError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(trust)? {
        let added = roots.add(certificate);
        added.map_err(|error| TlsError::Authority { pem: trust.clone(), error })?;
    }
    Ok(Arc::new(roots))
}

/// The files that the settings name, each once.
pub(crate) fn files(settings: &TlsSettings) -> Vec<PathBuf> {
    let identity = settings.identity.iter().flat_map(|identity| [&identity.chain, &identity.key]);
    let all = identity.chain(&settings.trust).filter_map(Pem::file);
    let mut files: Vec<PathBuf> = all.cloned().collect();
    files.sort();
    files.dedup();
    files
}
