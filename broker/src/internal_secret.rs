//! Where the brokers' shared secret comes from: the configured file, or one of the broker's own,
//! made at its first start. The latter is enough for a broker that is its own cluster, and is
//! handed to the others by whoever lets it grow.

use anyhow::{Context, Result};
use config::{Config, internal_secret_file};
use quorum::secret::{Guard, Secret};
use server::security::sasl::Unknown;

pub(crate) fn guard(config: &Config) -> Result<Guard> {
    let secret = match &config.secret.file {
        Some(file) => Secret::read(file).context("read barnabas.internal.secret.file")?,
        // Nobody is asked for it, and nobody was given it.
        None if !config.secret.required => return Ok(open()),
        None => {
            std::fs::create_dir_all(&config.metadata_log_dir)
                .context("create the metadata directory")?;
            Secret::read_or_make(&internal_secret_file(&config.metadata_log_dir))
                .context("make the secret of the internal listener")?
        }
    };
    Ok(match config.secret.required {
        true => Guard::Strict(secret),
        false => Guard::Lenient(secret),
    })
}

fn open() -> Guard {
    tracing::warn!(
        "barnabas.internal.secret.required=false without a secret: everybody who reaches the \
         controller listener can change this cluster"
    );
    Guard::Open
}

/// All brokers with the same secret tell a stranger the same.
pub(crate) fn strangers(guard: &Guard) -> Unknown {
    let random = || [uuid::Uuid::new_v4().into_bytes(), uuid::Uuid::new_v4().into_bytes()];
    let key = guard.secret().map(|secret| secret.derive(b"scram strangers"));
    Unknown::new(key.unwrap_or_else(|| {
        let mut key = [0; 32];
        key.copy_from_slice(&random().concat());
        key
    }))
}
