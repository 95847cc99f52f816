//! PLAIN (RFC 4616): a name and a password, in the clear.

use std::collections::BTreeMap;

use config::Password;
use metadata::ScramMechanism;
use subtle::{Choice, ConstantTimeEq};

use super::Refused;
use super::digest::hmac;

const WRONG: &str = "Authentication failed: Invalid username or password";
/// Only hashes are compared, so that neither the length of a password nor its beginning shows in
/// the time that this takes.
const COMPARISON: &[u8] = b"barnabas plain";

/// The users of a listener, with the hashes of their passwords: what an attempt costs depends on
/// what is given alone.
#[derive(Default)]
pub struct Users(BTreeMap<String, Vec<u8>>);

impl std::fmt::Debug for Users {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} users", self.0.len())
    }
}

impl Users {
    pub fn new(users: &BTreeMap<String, Password>) -> Users {
        let hashed =
            |(user, password): (&String, &Password)| (user.clone(), compared(password.expose()));
        Users(users.iter().map(hashed).collect())
    }

    /// The name of the user whose password this is. An unknown user takes as long as a known one.
    pub(super) fn verify(&self, message: &[u8]) -> Result<String, Refused> {
        let refused = |why: &str| Err(Refused(why.to_owned()));
        let Ok(text) = str::from_utf8(message) else { return refused(WRONG) };
        let parts: Vec<&str> = text.splitn(4, '\0').collect();
        let [authorization, user, password] = parts[..] else {
            return refused("Invalid SASL/PLAIN response: expected 3 tokens");
        };
        if user.is_empty() {
            return refused("Authentication failed: username not specified");
        }
        if password.is_empty() {
            return refused("Authentication failed: password not specified");
        }
        let given = compared(password);
        let known = self.0.get(user);
        // Two digests that failed would be the same.
        let is_known = Choice::from(u8::from(known.is_some() && !given.is_empty()));
        // A stranger's is compared, too, and counts for nothing.
        let is_right = given.ct_eq(known.unwrap_or(&given)) & is_known;
        if !bool::from(is_right) {
            return refused(WRONG);
        }
        if !authorization.is_empty() && authorization != user {
            return refused(
                "Authentication failed: Client requested an authorization id that is different \
                 from username",
            );
        }
        Ok(user.to_owned())
    }
}

fn compared(password: &str) -> Vec<u8> {
    hmac(ScramMechanism::Sha256, COMPARISON, &[password.as_bytes()])
}
