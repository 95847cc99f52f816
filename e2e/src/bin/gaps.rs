//! `cargo x gaps`: see `e2e::gaps`.

fn main() -> anyhow::Result<()> {
    let plan = e2e::gaps::Plan::from_arguments(std::env::args().skip(1))?;
    e2e::gaps::run(&plan)
}
