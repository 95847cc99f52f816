//! Installs what the tests with real clients need.

fn main() -> anyhow::Result<()> {
    e2e::setup::all()
}
