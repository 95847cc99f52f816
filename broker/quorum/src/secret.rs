//! The secret that the brokers of one cluster share, and how they prove to each other that they
//! have it.
//!
//! A proof is an HMAC-SHA-256, keyed with the secret, over what both ends said about themselves:
//! what the connection is for, which end proves, the cluster, the node, directory and process of
//! each end, and a nonce of each end. So the secret never travels. A recorded proof is worthless on
//! another connection, because the other end's nonce is new there, and neither end can send the
//! other one's proof back, because the roles differ.
//!
//! What follows on the connection is not signed by it. The secret keeps those out who can connect;
//! who can read or change the traffic itself is kept out by TLS below, or off the network.

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use base::TopicId;
use hmac::{Hmac, Mac};
use serde::{Deserialize, Serialize};
use sha2::Sha256;

/// Shorter ones are guessed.
const BYTES_MIN: usize = 16;
const BYTES_MAX: usize = 4096;
/// First in what is signed: other uses of the same secret sign something else.
const DOMAIN: &[u8] = b"barnabas internal 1";
const DERIVED: &[u8] = b"barnabas derived 1";
const FOR_OTHERS: u32 = 0o007;

/// Why there is no secret.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    #[error("{path}: {error}")]
    Io { path: String, error: io::Error },
    #[error("{0} holds fewer than {BYTES_MIN} characters: too short for a secret")]
    TooShort(String),
    #[error("{0} holds more than {BYTES_MAX} bytes: no secret")]
    TooLong(String),
}

/// Only the keyed hash is kept, and never printed.
#[derive(Clone)]
pub struct Secret(Hmac<Sha256>);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

impl Secret {
    /// White space at the ends does not count: editors leave a line break.
    pub fn new(text: &[u8]) -> Option<Secret> {
        let text = text.trim_ascii();
        if !(BYTES_MIN..=BYTES_MAX).contains(&text.len()) {
            return None;
        }
        Hmac::new_from_slice(text).ok().map(Secret)
    }

    pub fn read(path: &Path) -> Result<Secret, SecretError> {
        let name = || path.display().to_string();
        let io = |error| SecretError::Io { path: name(), error };
        let file = File::open(path).map_err(io)?;
        let mode = file.metadata().map_err(io)?.mode();
        if mode & FOR_OTHERS != 0 {
            tracing::warn!(path = %name(), "every user of this machine may read the secret");
        }
        let mut text = Vec::new();
        file.take(BYTES_MAX as u64 + 1).read_to_end(&mut text).map_err(io)?;
        if text.len() > BYTES_MAX {
            return Err(SecretError::TooLong(name()));
        }
        Secret::new(&text).ok_or_else(|| SecretError::TooShort(name()))
    }

    /// Reads the file, and makes it before where there is none: for the owner's eyes, durable.
    pub fn read_or_make(path: &Path) -> Result<Secret, SecretError> {
        if !path.exists() {
            let io = |error| SecretError::Io { path: path.display().to_string(), error };
            make(path).map_err(io)?;
            tracing::info!(path = %path.display(), "made the secret of the internal listener");
        }
        Secret::read(path)
    }

    /// A key for another purpose, from which nobody finds the secret: the same on all brokers.
    pub fn derive(&self, purpose: &[u8]) -> [u8; 32] {
        let mut mac = self.0.clone();
        mac.update(DERIVED);
        mac.update(purpose);
        mac.finalize().into_bytes().into()
    }

    fn sign(&self, exchange: &Exchange<'_>, by: Side) -> Hmac<Sha256> {
        let mut mac = self.0.clone();
        mac.update(DOMAIN);
        mac.update(&[by as u8, exchange.purpose as u8]);
        mac.update(&(exchange.cluster_id.len() as u64).to_be_bytes());
        mac.update(exchange.cluster_id.as_bytes());
        for end in [&exchange.client, &exchange.server] {
            mac.update(&end.node.to_be_bytes());
            mac.update(&end.directory.0);
            mac.update(&end.incarnation.to_be_bytes());
            mac.update(&end.nonce.0);
        }
        mac
    }

    pub fn prove(&self, exchange: &Exchange<'_>, by: Side) -> Proof {
        Proof(self.sign(exchange, by).finalize().into_bytes().into())
    }

    /// Whether the other end has this secret. Takes as long for a wrong proof as for a right one.
    pub fn verify(&self, exchange: &Exchange<'_>, by: Side, proof: &Proof) -> bool {
        self.sign(exchange, by).verify_slice(&proof.0).is_ok()
    }
}

/// 244 random bits as hexadecimal text.
pub fn random_text() -> String {
    let (a, b) = (uuid::Uuid::new_v4(), uuid::Uuid::new_v4());
    format!("{}{}", a.simple(), b.simple())
}

fn make(path: &Path) -> io::Result<()> {
    let beside = path.with_extension("secret.tmp");
    match fs::remove_file(&beside) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&beside)?;
    file.write_all(format!("{}\n", random_text()).as_bytes())?;
    file.sync_all()?;
    fs::rename(&beside, path)?;
    path.parent().map_or(Ok(()), |dir| File::open(dir)?.sync_all())
}

/// What a node demands of others on its internal connections.
#[derive(Clone, Debug, Default)]
pub enum Guard {
    /// Nothing, and it proves nothing.
    #[default]
    Open,
    /// It proves itself where it is asked to, and takes others without a proof: until all brokers
    /// of a cluster have the secret.
    Lenient(Secret),
    /// Without a proof nobody is served, and nobody is believed.
    Strict(Secret),
}

impl Guard {
    pub fn secret(&self) -> Option<&Secret> {
        match self {
            Guard::Open => None,
            Guard::Lenient(secret) | Guard::Strict(secret) => Some(secret),
        }
    }

    pub fn is_strict(&self) -> bool {
        matches!(self, Guard::Strict(_))
    }
}

/// A number that is used once.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Nonce(pub [u8; 32]);

impl Nonce {
    pub fn random() -> Nonce {
        let mut nonce = [0; 32];
        for half in nonce.chunks_exact_mut(16) {
            half.copy_from_slice(uuid::Uuid::new_v4().as_bytes());
        }
        Nonce(nonce)
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Proof(pub [u8; 32]);

/// The end that proves.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Side {
    Client = 1,
    Server = 2,
}

/// What the connection is for: a proof for one is none for another.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Purpose {
    Raft = 1,
    Controller = 2,
    /// Of broker and broker, in Kafka's protocol.
    Replication = 3,
}

/// What one end says of itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct End {
    pub node: u64,
    pub directory: TopicId,
    pub incarnation: u64,
    pub nonce: Nonce,
}

/// What both ends said, and sign.
#[derive(Clone, Copy, Debug)]
pub struct Exchange<'a> {
    pub purpose: Purpose,
    pub cluster_id: &'a str,
    pub client: End,
    pub server: End,
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn end(node: u64) -> End {
        End { node, directory: TopicId([node as u8; 16]), incarnation: 7, nonce: Nonce::random() }
    }

    #[test]
    fn a_proof_is_for_one_exchange_and_one_side_only() {
        let secret = Secret::new(b"one secret of a cluster").unwrap();
        let (client, server) = (end(1), end(2));
        let cluster_id = "c";
        let said = Exchange { purpose: Purpose::Raft, cluster_id, client, server };
        let proof = secret.prove(&said, Side::Client);
        assert!(secret.verify(&said, Side::Client, &proof));
        assert!(!secret.verify(&said, Side::Server, &proof), "sent back");
        let other = Secret::new(b"another secret of a cluster").unwrap();
        assert!(!other.verify(&said, Side::Client, &proof));
        let nonce = Nonce::random();
        let directory = TopicId([9; 16]);
        for other in [
            Exchange { purpose: Purpose::Controller, ..said },
            Exchange { cluster_id: "d", ..said },
            Exchange { client: End { node: 3, ..client }, ..said },
            Exchange { client: End { directory, ..client }, ..said },
            Exchange { client: End { incarnation: 8, ..client }, ..said },
            Exchange { client: End { nonce, ..client }, ..said },
            Exchange { server: End { node: 3, ..server }, ..said },
            Exchange { server: End { directory, ..server }, ..said },
            Exchange { server: End { nonce, ..server }, ..said },
            Exchange { client: server, server: client, ..said },
        ] {
            assert!(!secret.verify(&other, Side::Client, &proof), "{other:?}");
        }
    }

    #[test]
    fn a_secret_is_made_once_for_its_owner_and_never_printed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("internal.secret");
        Secret::read_or_make(&path).unwrap();
        let text = fs::read_to_string(&path).unwrap();
        let secret = Secret::read_or_make(&path).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), text);
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
        assert_eq!(
            format!("{secret:?} {:?}", Guard::Strict(secret.clone())),
            "Secret Strict(Secret)"
        );

        fs::write(&path, "short").unwrap();
        assert!(matches!(Secret::read(&path), Err(SecretError::TooShort(_))));
        fs::write(&path, "x".repeat(BYTES_MAX + 1)).unwrap();
        assert!(matches!(Secret::read(&path), Err(SecretError::TooLong(_))));
    }

    #[test]
    fn the_hash_is_hmac_sha_256() {
        // RFC 4231, test case 3, whose key is long enough.
        let secret = Secret::new(&[0xaa; 20]).unwrap();
        let mut mac = secret.0.clone();
        mac.update(&[0xdd; 50]);
        let hash: [u8; 32] = mac.finalize().into_bytes().into();
        assert_eq!(hash[..4], [0x77, 0x3e, 0xa9, 0x1e]);
    }
}
