//! PLAIN (RFC 4616): a name and a password, in the clear.

use std::collections::BTreeMap;

use config::Password;
use hmac::{Hmac, Mac};
use sha2::Sha256;

use super::Refused;

const WRONG: &str = "Authentication failed: Invalid username or password";
/// Only hashes are compared, so that neither the length of a password nor its beginning shows in
/// the time that this takes.
const COMPARISON: &[u8] = b"barnabas plain";

/// The name of the user whose password this is. An unknown user takes as long as a known one.
pub(super) fn verify(
    users: &BTreeMap<String, Password>,
    message: &[u8],
) -> Result<String, Refused> {
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
    let known = users.get(user);
    let expected = known.map_or("", |known| known.expose());
    let is_right = is_same(expected, password);
    if !(is_right && known.is_some()) {
        return refused(WRONG);
    }
    if !authorization.is_empty() && authorization != user {
        return refused(
            "Authentication failed: Client requested an authorization id that is different from \
             username",
        );
    }
    Ok(user.to_owned())
}

fn is_same(expected: &str, given: &str) -> bool {
    let hash = |text: &str| {
        let mut mac = Hmac::<Sha256>::new_from_slice(COMPARISON).ok()?;
        mac.update(text.as_bytes());
        Some(mac)
    };
    let (Some(expected), Some(given)) = (hash(expected), hash(given)) else { return false };
    given.verify(&expected.finalize().into_bytes()).is_ok()
}
