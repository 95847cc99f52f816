//! The transaction coordinator's core: the transactional ids of one partition of
//! `__transaction_state`. `transit` decides what may follow upon a transaction, `shard` carries it
//! through the log.

mod config;
mod record;
mod request;
mod shard;
mod transaction;
mod transit;

pub use config::TxnConfig;
pub use record::TxnRecord;
pub use request::{
    AddPartitions, DescribedTransaction, EndTransaction, InitProducer, ListedTransaction, Markers,
    Producer, TxnErrand, TxnFilter, TxnReply, TxnRequest, VerifyPartitions,
};
pub use shard::TxnShard;
pub use transaction::{Partitions, Transaction, TransactionalId, TxnState};
