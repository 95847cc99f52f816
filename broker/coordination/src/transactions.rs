//! The transaction coordinator, whose shards are the partitions of `__transaction_state`.

use std::sync::Arc;

use base::ErrorCode;
use config::Config;
use coordinator::txn::{ListedTransaction, TxnConfig, TxnFilter, TxnReply, TxnRequest, TxnShard};
use metadata::Image;
use process::shutdown::Shutdown;
use storage::Storage;
use storage::partition::Outbox;

use crate::markers::{MarkerSender, Outside};
use crate::shards::Shards;
use crate::{Creation, transaction_partition_of};

/// All transactional ids whose coordinator this broker is. Cheap to clone.
#[derive(Clone)]
pub struct TransactionCoordinator {
    inner: Arc<Inner>,
}

struct Inner {
    shards: Shards<TxnShard>,
    markers: Arc<MarkerSender>,
    creation: Creation,
}

impl TransactionCoordinator {
    /// To be called within the runtime that the shards' tasks shall run on.
    pub fn new(config: &Config, outbox: Arc<Outbox>) -> TransactionCoordinator {
        let markers = Arc::<MarkerSender>::default();
        let inner = Inner {
            shards: Shards::new(txn_config(config), outbox, markers.clone()),
            markers,
            creation: Creation::default(),
        };
        TransactionCoordinator { inner: Arc::new(inner) }
    }

    /// Carries out what partitions post and what shards ask for, until connections close.
    pub async fn run(self, storage: Arc<Storage>, outside: Arc<dyn Outside>, shutdown: Shutdown) {
        tokio::select! {
            () = self.inner.shards.carry_out() => {}
            () = self.inner.markers.run(&storage, outside) => {}
            () = shutdown.connections_closing() => {}
        }
    }

    /// Ends all shards and waits for their tasks: none appends anything afterwards.
    pub async fn close(&self) {
        self.inner.shards.close().await;
    }

    /// Asks the shard of the request's transactional id, if it is here and loaded. A request that
    /// takes a new producer id is asked once more by the caller (`TxnReply::NeedsProducerId`).
    pub async fn call(&self, image: &Image, request: TxnRequest) -> TxnReply {
        let id = request.id().cloned().unwrap_or_else(|| "".into());
        self.inner.shards.call(transaction_partition_of(image, &id), request).await
    }

    /// The transactional ids of all shards here.
    pub async fn list(&self, filter: TxnFilter) -> Result<Vec<ListedTransaction>, ErrorCode> {
        let mut transactions = Vec::new();
        for (is_loaded, mailbox) in self.inner.shards.all() {
            if !is_loaded {
                return Err(ErrorCode::CoordinatorLoadInProgress);
            }
            // A shard that goes away meanwhile is another broker's to list.
            let answer = mailbox.ask(TxnRequest::List(filter.clone())).await;
            if let Some(TxnReply::List(Ok(listed))) = answer {
                transactions.extend(listed);
            }
        }
        Ok(transactions)
    }

    /// Whether the caller shall create `__transaction_state` now: one of many who miss it, and not
    /// again before a while.
    pub fn may_create_topic(&self, now_ms: i64) -> bool {
        self.inner.creation.may_begin(now_ms)
    }
}

fn txn_config(config: &Config) -> TxnConfig {
    let transactions = &config.transactions;
    TxnConfig {
        timeout_ms_max: transactions.timeout_ms_max,
        id_expiration_ms: transactions.id_expiration_ms,
        abort_check_ms: transactions.abort_check_interval_ms,
        expiry_check_ms: transactions.expiry_check_interval_ms,
        ..TxnConfig::kafka_defaults()
    }
}
