//! The digests of SASL: everything that is hashed for an authentication is hashed here.

use hmac::{Hmac, Mac};
use metadata::ScramMechanism;
use sha2::{Digest, Sha256, Sha512};

pub(super) fn hash(mechanism: ScramMechanism, bytes: &[u8]) -> Vec<u8> {
    note(0, bytes.len());
    match mechanism {
        ScramMechanism::Sha512 => Sha512::digest(bytes).to_vec(),
        ScramMechanism::Sha256 => Sha256::digest(bytes).to_vec(),
    }
}

pub(super) fn hmac(mechanism: ScramMechanism, key: &[u8], parts: &[&[u8]]) -> Vec<u8> {
    fn of<M: Mac + hmac::digest::KeyInit>(key: &[u8], parts: &[&[u8]]) -> Vec<u8> {
        // A key of any length is one.
        let Ok(mut mac) = <M as Mac>::new_from_slice(key) else { return Vec::new() };
        parts.iter().for_each(|part| mac.update(part));
        mac.finalize().into_bytes().to_vec()
    }
    note(key.len(), parts.iter().map(|part| part.len()).sum());
    match mechanism {
        ScramMechanism::Sha512 => of::<Hmac<Sha512>>(key, parts),
        ScramMechanism::Sha256 => of::<Hmac<Sha256>>(key, parts),
    }
}

#[cfg(not(test))]
fn note(_key: usize, _message: usize) {}

#[cfg(test)]
fn note(key: usize, message: usize) {
    work::DONE.with_borrow_mut(|done| done.push((key, message)));
}

/// What was hashed on this thread, for tests.
#[cfg(test)]
pub(super) mod work {
    use std::cell::RefCell;

    thread_local! {
        pub(super) static DONE: RefCell<Vec<(usize, usize)>> = const { RefCell::new(Vec::new()) };
    }

    /// The lengths of the keys and the messages since this was asked last.
    pub fn take() -> Vec<(usize, usize)> {
        DONE.take()
    }
}
