//! Generates the messages and the table of APIs from `schema/` into the build output.

#[path = "gen/codec.rs"]
mod codec;
#[path = "gen/emit.rs"]
mod emit;
#[path = "gen/names.rs"]
mod names;
#[path = "gen/notation.rs"]
mod notation;

use std::path::{Path, PathBuf};
use std::{env, fs};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo::rerun-if-changed=schema");
    println!("cargo::rerun-if-changed=gen");
    println!("cargo::rerun-if-changed=build.rs");
    let mut paths: Vec<PathBuf> = Vec::new();
    for entry in fs::read_dir("schema")? {
        paths.push(entry?.path());
    }
    paths.sort();
    let mut messages = Vec::new();
    for path in paths {
        let text = fs::read_to_string(&path)?;
        let parsed = notation::parse(&text).map_err(|error| format!("{path:?}: {error}"))?;
        messages.extend(parsed);
    }
    let out_dir = env::var("OUT_DIR")?;
    let out_dir = Path::new(&out_dir);
    fs::write(out_dir.join("messages.rs"), emit::messages(&messages))?;
    fs::write(out_dir.join("api_key.rs"), emit::api_keys(&messages))?;
    Ok(())
}
