//! Who may connect, and who that is: a gate per listener, with its certificates and the names that
//! it gives.

mod rules;
pub mod sasl;

use std::sync::Arc;
use std::time::Duration;

use base::Principal;
use config::{Config, ListenerSecurity, SaslConfig};
use tokio::net::TcpStream;
use transport::{Acceptor, Connector, HandshakeError, Outcome, Patience, Stream, TlsError};

pub use rules::{PrincipalRules, RulesError};

use crate::seldom::Seldom;

/// From the first byte to the end of a handshake.
const HANDSHAKE_MAX: Duration = Duration::from_secs(10);
/// How long a client may be silent before its handshake. Brokers keep silent connections to each
/// other, by which they see a process end; those have the time of any idle connection.
const SILENCE_MAX: Duration = Duration::from_secs(30);

/// A listener of the configuration that cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum SecurityError {
    #[error("TLS of listener {listener}: {error}")]
    Tls { listener: String, error: TlsError },
    #[error("ssl.principal.mapping.rules of listener {listener}: {error}")]
    Rules { listener: String, error: RulesError },
    #[error("listener {0} has no protocol")]
    Unknown(String),
}

/// Why a connection is not served.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    #[error(transparent)]
    Handshake(#[from] HandshakeError),
    #[error("the subject of the certificate cannot be read")]
    Subject,
    #[error("no rule of ssl.principal.mapping.rules has a name for {0:?}")]
    NoName(String),
    /// What the client was told.
    #[error("authentication failed: {0}")]
    Unauthenticated(String),
}

/// The way in by one listener.
#[derive(Debug)]
pub struct Gate {
    listener: String,
    acceptor: Acceptor,
    rules: PrincipalRules,
    patience: Patience,
    /// How clients authenticate after the handshake, if they have to.
    pub sasl: Option<SaslConfig>,
    /// Who may by PLAIN.
    pub users: sasl::Users,
    /// Brokers keep silent connections to each other there.
    pub is_of_brokers: bool,
}

impl Gate {
    fn new(
        security: &ListenerSecurity,
        is_of_brokers: bool,
        idle_max: Option<Duration>,
    ) -> Result<Gate, SecurityError> {
        let (listener, acceptor) = (security.listener.clone(), acceptor(security)?);
        let rules = PrincipalRules::parse(&security.principal_rules)
            .map_err(|error| SecurityError::Rules { listener: listener.clone(), error })?;
        let silence = if is_of_brokers { idle_max } else { Some(SILENCE_MAX) };
        let patience = Patience { silence, handshake: HANDSHAKE_MAX };
        let sasl = security.sasl.clone();
        let users = sasl.as_ref().map(|sasl| sasl::Users::new(&sasl.users)).unwrap_or_default();
        Ok(Gate { listener, acceptor, rules, patience, sasl, users, is_of_brokers })
    }

    /// Shakes hands, and finds out who came. The time is bounded.
    pub async fn admit(&self, tcp: TcpStream) -> Result<(Stream, Principal), Refused> {
        let stream = self.acceptor.accept(tcp, self.patience).await?;
        let principal = match stream.peer_name().map_err(|_| Refused::Subject)? {
            None => Principal::anonymous(),
            // Another name will come.
            Some(_) if self.sasl.is_some() => Principal::anonymous(),
            Some(subject) => match self.rules.apply(&subject) {
                Some(name) => Principal::user(name),
                None => return Err(Refused::NoName(subject)),
            },
        };
        Ok((stream, principal))
    }

    /// Tells why somebody is not served. Anybody can come a thousand times a second.
    pub fn tell(&self, peer: std::net::SocketAddr, refused: &Refused) {
        static TOLD: Seldom = Seldom::new(1);
        let listener = &self.listener;
        match TOLD.take() {
            Some(unsaid) => {
                tracing::info!(%peer, %listener, reason = %refused, unsaid, "refuse connection");
            }
            None => tracing::debug!(%peer, %listener, reason = %refused, "refuse connection"),
        }
    }
}

/// The gates of all listeners for clients, and the way out to the listeners of other brokers.
#[derive(Debug)]
pub struct Gates {
    gates: Vec<Arc<Gate>>,
    /// To the listener that brokers use among each other.
    pub brokers: Connector,
    /// Of the controller listener, both ways.
    pub quorum: (Acceptor, Connector),
}

impl Gates {
    /// Reads certificates and keys.
    pub fn new(config: &Config) -> Result<Gates, SecurityError> {
        let idle_max = config.net.idle_ms_max.map(Duration::from_millis);
        let gate = |name: &str| {
            let security = config.security_of(name);
            let security = security.ok_or_else(|| SecurityError::Unknown(name.to_owned()))?;
            let is_of_brokers = name == config.inter_broker_listener;
            Gate::new(security, is_of_brokers, idle_max).map(Arc::new)
        };
        let gates = config.listeners.iter().map(|listener| gate(&listener.name));
        let gates = gates.collect::<Result<_, _>>()?;
        let brokers = connector(config, &config.inter_broker_listener)?;
        let listener = &config.controller_listener.name;
        let security = config.security_of(listener);
        let security = security.ok_or_else(|| SecurityError::Unknown(listener.clone()))?;
        let quorum = (acceptor(security)?, connector(config, listener)?);
        Ok(Gates { gates, brokers, quorum })
    }

    pub fn of(&self, listener: &str) -> Option<Arc<Gate>> {
        self.gates.iter().find(|gate| gate.listener == listener).cloned()
    }

    pub fn has_tls(&self) -> bool {
        self.quorum.0.is_tls() || self.gates.iter().any(|gate| gate.acceptor.is_tls())
    }

    /// Looks at all files. Blocks on the disk.
    pub fn refresh(&self) -> Vec<(String, Outcome)> {
        let of = |gate: &Arc<Gate>| (gate.listener.clone(), gate.acceptor.refresh());
        let accepting = self.gates.iter().map(of);
        let quorum = [self.quorum.0.refresh(), self.quorum.1.refresh()];
        let quorum = quorum.map(|outcome| ("of the quorum".to_owned(), outcome));
        let connecting = ("of other brokers".to_owned(), self.brokers.refresh());
        accepting.chain(quorum).chain([connecting]).collect()
    }
}

fn acceptor(security: &ListenerSecurity) -> Result<Acceptor, SecurityError> {
    let tls = |error| SecurityError::Tls { listener: security.listener.clone(), error };
    match &security.tls {
        Some(settings) => Acceptor::tls(settings.clone()).map_err(tls),
        None => Ok(Acceptor::Plain),
    }
}

/// The way to a listener of another broker, which has the settings of the same one here.
fn connector(config: &Config, listener: &str) -> Result<Connector, SecurityError> {
    let tls = |error| SecurityError::Tls { listener: listener.to_owned(), error };
    match config.security_of(listener).and_then(|security| security.tls.clone()) {
        Some(settings) => Connector::tls(settings).map_err(tls),
        None => Ok(Connector::Plain),
    }
}
