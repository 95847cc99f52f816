//! The replicas on this broker. Each [`Partition`] holds its log and its replica core behind one
//! short lock that is never held across an await; what the core asks of others leaves as posts
//! that do not block. [`Partitions`] finds them and applies metadata images to them.

mod apply;
mod checkpoints;
mod cleaner;
mod commits;
mod coordinator_posts;
mod dirs;
#[cfg(test)]
mod dirs_tests;
mod effects;
mod follower;
mod hosted;
mod index;
mod leader;
mod load;
mod making;
mod making_jobs;
mod offline;
mod offline_replicas;
mod outbox;
mod posts;
mod settings;
mod state;
mod syncs;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
#[cfg(test)]
mod tests;
mod waits;

pub use apply::{apply_images, run_applier};

pub use coordinator_posts::{CoordinatorPost, CoordinatorPosts};
pub use follower::{FollowerProgress, LogEnd};
pub use hosted::{Offsets, Partition};
pub use index::Partitions;
pub use leader::{Appended, ProduceError, Registration, Ticket};
pub use load::{DirLock, LoadError, LoadedLogs, Recovery, load_logs, write_meta_properties};
pub use offline::run_log_dirs;
pub use outbox::{FetchOrder, FetchOrders, IsrProposals, Observer, Outbox, Settled};
pub use syncs::SyncQueue;
pub use waits::{FetchWait, ProduceWait};
