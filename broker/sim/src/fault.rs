//! Which links are cut, and which brokers lost something.

use std::collections::BTreeSet;

use crate::message::Addr;

#[derive(Default)]
pub(crate) struct Faults {
    pub(crate) cut: BTreeSet<(Addr, Addr)>,
    /// Brokers that lost data, until they are in sync again everywhere.
    pub(crate) lossy: BTreeSet<usize>,
    /// Brokers that died without loss, likewise.
    pub(crate) unclean: BTreeSet<usize>,
}

impl Faults {
    pub(crate) fn is_cut(&self, from: Addr, to: Addr) -> bool {
        self.cut.contains(&(from, to))
    }

    pub(crate) fn heal_links(&mut self) {
        self.cut.clear();
    }
}
