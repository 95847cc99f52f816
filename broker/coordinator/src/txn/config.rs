//! What the operator of a cluster can set about transactions.

/// Settings of one coordinator, named after the broker's configuration keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TxnConfig {
    /// `transaction.max.timeout.ms`
    pub timeout_ms_max: i32,
    /// `transactional.id.expiration.ms`
    pub id_expiration_ms: i64,
    /// `transaction.abort.timed.out.transaction.cleanup.interval.ms`
    pub abort_check_ms: i64,
    /// `transaction.remove.expired.transaction.cleanup.interval.ms`
    pub expiry_check_ms: i64,
    /// `request.timeout.ms`: how long a reply waits for its record to be committed.
    pub append_timeout_ms: i64,
    /// Pause before a completed transaction, whose record could not be appended, is written again.
    pub retry_ms: i64,
}

impl TxnConfig {
    /// Kafka's defaults.
    pub fn kafka_defaults() -> TxnConfig {
        TxnConfig {
            timeout_ms_max: 900_000,
            id_expiration_ms: 604_800_000,
            abort_check_ms: 10_000,
            expiry_check_ms: 3_600_000,
            append_timeout_ms: 30_000,
            retry_ms: 100,
        }
    }
}
