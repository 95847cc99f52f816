//! What every broker of a cluster can name without asking the others.

use std::path::{Path, PathBuf};

use base::TopicId;

/// The id of the cluster that a text names: the same for everybody who has the same text.
pub fn cluster_id_of(text: &str) -> String {
    TopicId::from_random(fnv_128(text.as_bytes())).to_string()
}

/// The file with the brokers' shared secret, where it is kept in this directory.
pub fn internal_secret_file(dir: &Path) -> PathBuf {
    dir.join("internal.secret")
}

fn fnv_128(bytes: &[u8]) -> u128 {
    const BASIS: u128 = 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d;
    const PRIME: u128 = 0x0000_0000_0100_0000_0000_0000_0000_013b;
    bytes.iter().fold(BASIS, |hash, &byte| (hash ^ u128::from(byte)).wrapping_mul(PRIME))
}
