//! `cargo x bench`: see `e2e::bench`.

fn main() -> anyhow::Result<()> {
    let plan = e2e::bench::Plan::from_arguments(std::env::args().skip(1))?;
    e2e::bench::run(&plan)
}
