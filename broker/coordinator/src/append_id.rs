//! What names an append that a shard asks for.

/// Number of an append of this shard, growing by one. Log order is id order.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct AppendId(pub u64);
