//! The connections behind the calls: one to whichever broker answered first, and one to each
//! broker that was asked about itself. They are made when needed, kept while they work, and made
//! anew, names resolved again, once they do not.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use base::BrokerId;
use client::Connection;
use futures::{StreamExt, stream};
use tokio::sync::{Mutex, Semaphore};
use tokio::time::timeout;
use wire::{ApiKey, Request, Str};

use super::{AdminError, Refused, Result};

/// Addresses that one attempt tries at most.
const CANDIDATES_MAX: usize = 8;
/// For a connection to any of them, waiting for another task's attempt included.
const CONNECT_MAX: Duration = Duration::from_secs(10);
/// Brokers asked at a time, where each is asked about itself.
const BROKERS_AT_A_TIME: usize = 8;

/// Bounds of one [`Admin`].
#[derive(Clone, Debug)]
pub struct Options {
    /// For one address: connecting and agreeing on versions.
    pub connect_timeout: Duration,
    /// From a call to its answer, once connected.
    pub request_timeout: Duration,
    /// Calls under way at once; more wait for their turn.
    pub calls_max: usize,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            connect_timeout: Duration::from_secs(3),
            request_timeout: Duration::from_secs(15),
            calls_max: 16,
        }
    }
}

/// Administrative requests to one cluster. Clones share connections.
#[derive(Clone, Debug)]
pub struct Admin {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    options: Options,
    /// Bounds the calls under way.
    turns: Semaphore,
    any: Mutex<Any>,
    /// Where brokers are found, if not where they advertise.
    addresses: BTreeMap<BrokerId, SocketAddr>,
    /// Connections to brokers that were asked about themselves.
    brokers: Mutex<BTreeMap<BrokerId, Connection>>,
}

/// The connection for what any broker answers.
#[derive(Debug)]
struct Any {
    bootstrap: Vec<String>,
    connection: Option<Connection>,
    /// Where the next attempt begins: another address after a failure.
    next: usize,
}

impl Admin {
    /// `bootstrap`: `host:port` of brokers or of a Service in front of them. Connects to nothing
    /// yet.
    pub fn new(bootstrap: Vec<String>, options: Options) -> Admin {
        let turns = Semaphore::new(options.calls_max.max(1));
        let any = Mutex::new(Any { bootstrap, connection: None, next: 0 });
        let (addresses, brokers) = Default::default();
        Admin { inner: Arc::new(Inner { options, turns, any, addresses, brokers }) }
    }

    /// Connects to the first of these brokers that answers. They are found at these addresses,
    /// whatever they advertise.
    pub async fn connect(brokers: &[(BrokerId, SocketAddr)]) -> Result<Admin> {
        let bootstrap = brokers.iter().map(|(_, address)| address.to_string()).collect();
        let mut admin = Admin::new(bootstrap, Options::default());
        if let Some(inner) = Arc::get_mut(&mut admin.inner) {
            inner.addresses = brokers.iter().copied().collect();
        }
        admin.any(ApiKey::ApiVersions).await?;
        Ok(admin)
    }

    /// Takes other addresses. A connection that works is kept, unless another address is first: who
    /// was asked so far may be where nothing answers any more, and its silence would cost the whole
    /// time of a request.
    pub async fn set_bootstrap(&self, bootstrap: Vec<String>) {
        let mut any = self.inner.any.lock().await;
        if any.bootstrap.first() != bootstrap.first() {
            any.connection = None;
        }
        if any.bootstrap != bootstrap {
            any.bootstrap = bootstrap;
            any.next = 0;
        }
    }

    /// Milliseconds that a broker may take for a change before it answers that it timed out.
    pub(super) fn server_timeout_ms(&self) -> i32 {
        let most = self.inner.options.request_timeout.saturating_sub(Duration::from_secs(1));
        i32::try_from(most.as_millis()).unwrap_or(i32::MAX)
    }

    /// A request that any broker answers. Sent once.
    pub(super) async fn call<R: Request>(&self, request: &R) -> Result<R::Response> {
        self.call_within(request, self.inner.options.request_timeout).await
    }

    /// As [`Admin::call`], with a time limit of its own.
    pub(super) async fn call_within<R: Request>(
        &self,
        request: &R,
        limit: Duration,
    ) -> Result<R::Response> {
        let _turn = self.turn().await;
        let connection = self.any(R::KEY).await?;
        let result = exchange(&connection, request, limit).await;
        if result.is_err() {
            self.elsewhere().await;
        }
        result
    }

    /// A request that changes nothing: repeated once where the connection was stale.
    pub(super) async fn read<R: Request>(&self, request: &R) -> Result<R::Response> {
        match self.call(request).await {
            Err(AdminError::Lost { .. }) => self.call(request).await,
            result => result,
        }
    }

    /// As [`Admin::read`], of one broker about itself.
    pub(super) async fn read_from<R: Request>(
        &self,
        broker: BrokerId,
        request: &R,
    ) -> Result<R::Response> {
        match self.call_to(broker, request).await {
            Err(AdminError::Lost { .. }) => self.call_to(broker, request).await,
            result => result,
        }
    }

    /// A request to one broker. Sent once.
    pub(super) async fn call_to<R: Request>(
        &self,
        broker: BrokerId,
        request: &R,
    ) -> Result<R::Response> {
        let connection = self.broker(broker, R::KEY).await?;
        let _turn = self.turn().await;
        let result = exchange(&connection, request, self.inner.options.request_timeout).await;
        if result.is_err() {
            self.inner.brokers.lock().await.remove(&broker);
        }
        result
    }

    /// Asks each of these brokers, several at a time.
    pub(super) async fn each<T, F: Future<Output = Result<T>>>(
        &self,
        brokers: &[BrokerId],
        ask: impl Fn(BrokerId) -> F,
    ) -> BTreeMap<BrokerId, Result<T>> {
        let asked = brokers.iter().map(|&id| with(id, ask(id))).collect::<Vec<_>>();
        stream::iter(asked).buffer_unordered(BROKERS_AT_A_TIME).collect().await
    }

    /// Passes a refusal of the whole request on. Where it tells more of the broker than of the
    /// request, the next call goes to another one.
    pub(super) async fn check(&self, api: ApiKey, code: i16, message: Option<&Str>) -> Result<()> {
        let result = AdminError::check(api, code, message);
        if let Err(AdminError::Refused { refused, .. }) = &result {
            self.notice(refused).await;
        }
        result
    }

    /// As [`Admin::check`], for the answers to single items.
    pub(super) async fn notice(&self, refused: &Refused) {
        if refused.is_of_the_broker() {
            self.elsewhere().await;
        }
    }

    /// The next call makes a new connection, beginning with another address.
    async fn elsewhere(&self) {
        let mut any = self.inner.any.lock().await;
        any.connection = None;
        any.next = any.next.wrapping_add(1);
    }

    async fn turn(&self) -> Option<tokio::sync::SemaphorePermit<'_>> {
        // The semaphore is never closed.
        self.inner.turns.acquire().await.ok()
    }

    /// The open connection, or a new one.
    async fn any(&self, api: ApiKey) -> Result<Connection> {
        let late = || AdminError::Unreachable("no address answers".into());
        timeout(CONNECT_MAX, self.connect_any(api)).await.map_err(|_| late())?
    }

    async fn connect_any(&self, api: ApiKey) -> Result<Connection> {
        let mut any = self.inner.any.lock().await;
        if let Some(open) = any.connection.as_ref().filter(|c| !c.is_closed()) {
            return Ok(open.clone());
        }
        any.connection = None;
        let mut first = None;
        let count = any.bootstrap.len();
        for _ in 0..count.min(CANDIDATES_MAX) {
            let at = any.next % count;
            match self.open(&any.bootstrap[at], api).await {
                Ok(connection) => {
                    any.connection = Some(connection.clone());
                    return Ok(connection);
                }
                Err(error) => {
                    any.next = at + 1;
                    first.get_or_insert(error);
                }
            }
        }
        Err(first.unwrap_or_else(|| AdminError::Unreachable("no address is known".into())))
    }

    async fn broker(&self, id: BrokerId, api: ApiKey) -> Result<Connection> {
        if let Some(connection) = self.inner.brokers.lock().await.get(&id)
            && !connection.is_closed()
        {
            return Ok(connection.clone());
        }
        let address = match self.inner.addresses.get(&id) {
            Some(address) => address.to_string(),
            None => match self.describe_cluster().await?.brokers.get(&id) {
                Some(broker) => broker.address(),
                None => {
                    return Err(AdminError::Unreachable(format!("broker {id} is not registered")));
                }
            },
        };
        // Two tasks may both get here: the later connection stays, the other ends with its use.
        let connection = self.open(&address, api).await?;
        self.inner.brokers.lock().await.insert(id, connection.clone());
        Ok(connection)
    }

    async fn open(&self, address: &str, api: ApiKey) -> Result<Connection> {
        let options = &self.inner.options;
        let connecting = Connection::open(
            address,
            client::Options {
                client_id: Str::from("barnabas-operator"),
                connect_timeout: options.connect_timeout,
                request_timeout: options.request_timeout,
                in_flight_max: options.calls_max.max(1),
                ..client::Options::default()
            },
        );
        match timeout(options.connect_timeout, connecting).await {
            Ok(Ok(connection)) => Ok(connection),
            Ok(Err(error)) => Err(match AdminError::from_client(api, &error) {
                // Nothing was asked yet.
                AdminError::Timeout(_) | AdminError::Lost { .. } => {
                    AdminError::Unreachable(format!("{address}: {error}"))
                }
                other => other,
            }),
            Err(_) => Err(AdminError::Unreachable(format!("connect to {address}: no answer"))),
        }
    }
}

async fn with<T>(id: BrokerId, answer: impl Future<Output = T>) -> (BrokerId, T) {
    (id, answer.await)
}

async fn exchange<R: Request>(
    connection: &Connection,
    request: &R,
    limit: Duration,
) -> Result<R::Response> {
    let failed = |error| AdminError::from_client(R::KEY, &error);
    let version = connection.newest_common(R::KEY).map_err(failed)?;
    connection.call_within(request, version, limit).await.map_err(failed)
}
