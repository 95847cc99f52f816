//! Where the brokers' shared secret comes from: the configured file, or one of the broker's own,
//! made at its first start. The latter is enough for a broker that is its own cluster, and is
//! handed to the others by whoever lets it grow.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use quorum::secret::{Guard, Secret};

use crate::config::Config;

const FILE: &str = "internal.secret";

/// In the directory of the metadata log.
pub(crate) fn own_file(dir: &Path) -> PathBuf {
    dir.join(FILE)
}

pub(crate) fn guard(config: &Config) -> Result<Guard> {
    let secret = match &config.secret.file {
        Some(file) => Secret::read(file).context("read barnabas.internal.secret.file")?,
        // Nobody is asked for it, and nobody was given it.
        None if !config.secret.required => return Ok(open()),
        None => {
            std::fs::create_dir_all(&config.metadata_log_dir)
                .context("create the metadata directory")?;
            Secret::read_or_make(&own_file(&config.metadata_log_dir))
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
