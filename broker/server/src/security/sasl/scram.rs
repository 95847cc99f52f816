//! SCRAM-SHA-256 and SCRAM-SHA-512 (RFC 5802 and 7677), the server's part. The password is known to
//! nobody here: a credential only lets its owner's proof be verified.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use config::Mechanism;
use metadata::{ScramCredential, ScramMechanism};
use subtle::{Choice, ConstantTimeEq};

use super::digest::{hash, hmac};
use super::{Refused, World};

/// Rounds that Kafka's tools take unless they are told otherwise.
const ITERATIONS: i32 = 4096;
/// A client's first message, a few copies of which are kept until its last one comes. A name and a
/// nonce need far less.
const FIRST_BYTES_MAX: usize = 4096;

/// What a stranger is told: the same salt each time, as a user has one.
#[derive(Clone)]
pub struct Unknown([u8; 32]);

impl fmt::Debug for Unknown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Unknown")
    }
}

impl Unknown {
    /// The key is secret, and the same on all brokers: otherwise a stranger would be seen to have
    /// another salt at each of them.
    pub fn new(key: [u8; 32]) -> Unknown {
        Unknown(key)
    }

    fn credential(&self, mechanism: ScramMechanism, user: &str) -> ScramCredential {
        let of = |what: &[u8]| hmac(mechanism, &self.0, &[what, user.as_bytes()]);
        ScramCredential {
            salt: salt(&of(b"salt")).into(),
            stored_key: of(b"stored").into(),
            server_key: of(b"server").into(),
            iterations: ITERATIONS,
        }
    }
}

/// The salt that Kafka's tools would make of such random bits: a number of 130 bits in base 36. Any
/// other would tell a stranger by its letters or its length.
fn salt(random: &[u8]) -> Vec<u8> {
    const BYTES: usize = 17;
    let mut number = [0; BYTES];
    number.iter_mut().zip(random).for_each(|(to, from)| *to = *from);
    number[0] &= 0b11;
    let mut digits = Vec::new();
    while digits.is_empty() || number.iter().any(|byte| *byte > 0) {
        let mut rest = 0;
        for byte in &mut number {
            let value = rest << 8 | u32::from(*byte);
            (*byte, rest) = ((value / 36) as u8, value % 36);
        }
        digits.extend(char::from_digit(rest, 36).map(|digit| digit as u8));
    }
    digits.reverse();
    digits
}

/// A client was told its salt, and has to prove that it knows the password.
#[derive(Debug)]
pub(super) struct Challenge {
    pub mechanism: Mechanism,
    scram: ScramMechanism,
    pub user: String,
    header: String,
    client_first: String,
    server_first: String,
    nonce: String,
    credential: ScramCredential,
    is_known: bool,
}

fn refused(mechanism: Mechanism) -> Refused {
    Refused(format!(
        "Authentication failed during authentication due to invalid credentials with SASL \
         mechanism {}",
        mechanism.name()
    ))
}

/// The client's first message: `n,,n=USER,r=NONCE`.
pub(super) fn first(
    world: &World<'_>,
    mechanism: Mechanism,
    scram: ScramMechanism,
    message: &[u8],
) -> Result<Challenge, Refused> {
    parse_first(world, mechanism, scram, message).ok_or_else(|| refused(mechanism))
}

fn parse_first(
    world: &World<'_>,
    mechanism: Mechanism,
    scram: ScramMechanism,
    message: &[u8],
) -> Option<Challenge> {
    if message.len() > FIRST_BYTES_MAX {
        return None;
    }
    let text = str::from_utf8(message).ok()?;
    let (binding, rest) = text.split_once(',')?;
    let (authorization, client_first) = rest.split_once(',')?;
    if !["n", "y"].contains(&binding) {
        return None;
    }
    let mut fields = client_first.split(',');
    let user = unescape(fields.next()?.strip_prefix("n=")?)?;
    let client_nonce = fields.next()?.strip_prefix("r=")?;
    // Of the extensions there is only the one of delegation tokens.
    let is_token = fields.any(|field| field.eq_ignore_ascii_case("tokenauth=true"));
    if user.is_empty() || client_nonce.is_empty() || is_token {
        return None;
    }
    if !authorization.is_empty() {
        let authorization = unescape(authorization.strip_prefix("a=")?)?;
        if authorization != user {
            return None;
        }
    }
    let known = (world.scram)(scram, &user);
    let unknown = world.unknown.credential(scram, &user);
    let is_known = known.is_some();
    let credential = known.unwrap_or(unknown);
    let nonce = format!("{client_nonce}{}", world.nonce);
    let salt = STANDARD.encode(&credential.salt);
    let server_first = format!("r={nonce},s={salt},i={}", credential.iterations);
    Some(Challenge {
        mechanism,
        scram,
        user,
        header: text[..text.len() - client_first.len()].to_owned(),
        client_first: client_first.to_owned(),
        server_first,
        nonce,
        credential,
        is_known,
    })
}

/// `=2C` and `=3D` stand for a comma and an equals sign.
fn unescape(name: &str) -> Option<String> {
    let mut parts = name.split('=');
    let mut out = parts.next()?.to_owned();
    for part in parts {
        let (c, rest) = match part.get(..2)? {
            "2C" => (',', &part[2..]),
            "3D" => ('=', &part[2..]),
            _ => return None,
        };
        out.push(c);
        out.push_str(rest);
    }
    Some(out)
}

impl Challenge {
    pub(super) fn message(&self) -> &str {
        &self.server_first
    }

    /// The client's last message, `c=HEADER,r=NONCE,p=PROOF`, and what the server proves in return.
    pub(super) fn answer(&self, message: &[u8]) -> Result<Vec<u8>, Refused> {
        self.verify(message).ok_or_else(|| refused(self.mechanism))
    }

    fn verify(&self, message: &[u8]) -> Option<Vec<u8>> {
        let text = str::from_utf8(message).ok()?;
        let (without_proof, proof) = text.rsplit_once(",p=")?;
        let mut fields = without_proof.split(',');
        let header = STANDARD.decode(fields.next()?.strip_prefix("c=")?).ok()?;
        let nonce = fields.next()?.strip_prefix("r=")?;
        let proof = STANDARD.decode(proof).ok()?;
        let is_ours = header == self.header.as_bytes() && nonce == self.nonce;
        let signed = [&*self.client_first, &*self.server_first, without_proof].join(",");
        let stored = &self.credential.stored_key;
        let signature = hmac(self.scram, stored, &[signed.as_bytes()]);
        if proof.len() != signature.len() {
            return None;
        }
        let key: Vec<u8> = proof.iter().zip(&signature).map(|(a, b)| a ^ b).collect();
        let is_right = hash(self.scram, &key).ct_eq(stored);
        let server = hmac(self.scram, &self.credential.server_key, &[signed.as_bytes()]);
        let is_right = is_right & Choice::from(u8::from(is_ours && self.is_known));
        bool::from(is_right).then(|| format!("v={}", STANDARD.encode(server)).into_bytes())
    }
}

/// The keys of a credential out of a salted password, which the client computed.
pub fn keys(mechanism: ScramMechanism, salted_password: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let client_key = hmac(mechanism, salted_password, &[b"Client Key"]);
    let server_key = hmac(mechanism, salted_password, &[b"Server Key"]);
    (hash(mechanism, &client_key), server_key)
}

/// The client's last message, for tests.
#[cfg(any(test, feature = "testing"))]
pub(super) fn client_last(
    mechanism: ScramMechanism,
    salted_password: &[u8],
    client_first: &str,
    server_first: &str,
    nonce: &str,
) -> String {
    let without_proof = format!("c=biws,r={nonce}");
    let signed = [client_first, server_first, &without_proof].join(",");
    let client_key = hmac(mechanism, salted_password, &[b"Client Key"]);
    let stored = hash(mechanism, &client_key);
    let signature = hmac(mechanism, &stored, &[signed.as_bytes()]);
    let proof: Vec<u8> = client_key.iter().zip(&signature).map(|(a, b)| a ^ b).collect();
    format!("{without_proof},p={}", STANDARD.encode(proof))
}
