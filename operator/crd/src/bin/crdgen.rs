//! Writes the definitions below `crds/`: `cargo run -p crd --bin crdgen`.

use std::error::Error;
use std::path::Path;

fn main() -> Result<(), Box<dyn Error>> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../crds");
    std::fs::create_dir_all(&directory)?;
    for (name, text) in crd::files()? {
        std::fs::write(directory.join(&name), text)?;
        println!("crds/{name}");
    }
    Ok(())
}
