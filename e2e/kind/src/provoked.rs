//! What a scenario provokes, and its judge forgives therefore.

/// What a scenario provokes.
#[derive(Debug, Default)]
pub(crate) struct Provoked {
    /// Parts of lines that the operator may warn with.
    pub(crate) warnings: Vec<String>,
    /// The operator may be started again.
    pub(crate) restarts: bool,
}
