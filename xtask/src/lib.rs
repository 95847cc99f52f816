//! The project's own build tool, `cargo x`: what continuous integration does, one subcommand per
//! concern. It links nothing of the product, so that it works when the product does not compile.

pub mod chart;
pub mod check;
pub mod ci;
pub mod kind;
pub mod run;
pub mod schemas;
pub mod tidy;
