//! Requests to other brokers, over the listener for brokers: a connection to each for each kind of
//! request, so that none waits behind one of another kind.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use base::BrokerId;
use client::{Connection, Options};
use parking_lot::Mutex;
use quorum::secret::Guard;
use storage::Storage;
use tokio::time::timeout;
use transport::Connector;
use wire::{ApiKey, Request, Str};

use super::proof::{Asks, Prover};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// Largest answer.
const ANSWER_BYTES_MAX: usize = 16 << 20;

/// The way to other brokers.
pub struct Peers {
    storage: Arc<Storage>,
    guard: Guard,
    connector: Connector,
    /// Connections that are kept, with the address that each is to.
    kept: Mutex<HashMap<(BrokerId, ApiKey), (String, Connection)>>,
}

impl Peers {
    pub fn new(storage: Arc<Storage>, guard: Guard, connector: Connector) -> Peers {
        Peers { storage, guard, connector, kept: Mutex::default() }
    }

    /// Asks a broker. The connection is made where none is kept, or where the kept one has ended
    /// since, and dropped after an error.
    pub async fn ask<R: Request>(
        &self,
        other: BrokerId,
        request: &R,
        version: i16,
        limit: Duration,
    ) -> anyhow::Result<R::Response> {
        timeout(limit, self.ask_within(other, request, version, limit)).await?
    }

    async fn ask_within<R: Request>(
        &self,
        other: BrokerId,
        request: &R,
        version: i16,
        limit: Duration,
    ) -> anyhow::Result<R::Response> {
        let address = self.address(other)?;
        let key = (other, R::KEY);
        let kept = self.kept.lock().get(&key).cloned();
        let is_usable =
            |to: &str, connection: &Connection| to == address && !connection.is_closed();
        if let Some((_, connection)) = kept.filter(|(to, connection)| is_usable(to, connection))
            && let Ok(answer) = connection.call_within(request, version, limit).await
        {
            return Ok(answer);
        }
        let options = Options {
            client_id: Str::from(format!("broker-{}", self.storage.id)),
            connect_timeout: limit.min(CONNECT_TIMEOUT),
            request_timeout: limit,
            frame_bytes_max: ANSWER_BYTES_MAX,
            ..Options::default()
        };
        let connection = self.connect(other, &address, options).await?;
        self.kept.lock().insert(key, (address, connection.clone()));
        let answer = connection.call_within(request, version, limit).await;
        if answer.is_err() {
            self.kept.lock().remove(&key);
        }
        Ok(answer?)
    }

    /// Where a broker is reached by brokers.
    fn address(&self, other: BrokerId) -> anyhow::Result<String> {
        let image = self.storage.image();
        let listener = &self.storage.config.inter_broker_listener;
        match image.broker(other).and_then(|b| b.listener(listener)) {
            Some(endpoint) => Ok(format!("{}:{}", endpoint.host, endpoint.port)),
            None => anyhow::bail!("broker {other} has no listener {listener}"),
        }
    }

    /// A new connection to another broker, which knows that this is one.
    async fn connect(
        &self,
        other: BrokerId,
        address: &str,
        options: Options,
    ) -> anyhow::Result<Connection> {
        let options = Options { connector: self.connector.clone(), ..options };
        let mut connection = Connection::connect(address, options).await?;
        let (cluster_id, own) = (self.storage.image().cluster_id().to_string(), self.storage.id);
        if let Some(prover) = Prover::new(&self.guard, cluster_id, own, other) {
            prover.prove(&mut connection).await?;
        }
        Ok(connection)
    }
}

/// Any error says that the connection is of no use.
impl Asks for Connection {
    type Error = anyhow::Error;

    async fn ask<R: Request>(&mut self, request: &R, version: i16) -> anyhow::Result<R::Response> {
        Ok(self.call(request, version).await?)
    }
}
