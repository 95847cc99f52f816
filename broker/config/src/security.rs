//! What each listener speaks: plaintext or TLS, with SASL or without. A key of TLS or SASL counts
//! for all listeners, and `listener.name.LISTENER.KEY` before it for one of them.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use base::tls::{ClientAuth, Pem, TlsIdentity, TlsSettings};
use metadata::ScramMechanism;
use metadata::config::scoped;

use super::error::ConfigError;
use super::jaas;
use super::listener::SecurityProtocol;
use super::listeners::Listeners;
use super::values::{Values, shown};

/// One listener.
#[derive(Clone, PartialEq, Debug)]
pub struct ListenerSecurity {
    pub listener: String,
    pub protocol: SecurityProtocol,
    pub tls: Option<TlsSettings>,
    /// `ssl.principal.mapping.rules`
    pub principal_rules: String,
    pub sasl: Option<SaslConfig>,
}

/// How clients authenticate.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Mechanism {
    Plain,
    ScramSha256,
    ScramSha512,
}

impl Mechanism {
    pub const ALL: [Mechanism; 3] =
        [Mechanism::Plain, Mechanism::ScramSha256, Mechanism::ScramSha512];

    pub fn from_name(name: &str) -> Option<Mechanism> {
        Mechanism::ALL.into_iter().find(|mechanism| mechanism.name() == name)
    }

    /// `None`: it is not one of SCRAM.
    pub fn scram(self) -> Option<ScramMechanism> {
        match self {
            Mechanism::Plain => None,
            Mechanism::ScramSha256 => Some(ScramMechanism::Sha256),
            Mechanism::ScramSha512 => Some(ScramMechanism::Sha512),
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            Mechanism::Plain => "PLAIN",
            Mechanism::ScramSha256 => "SCRAM-SHA-256",
            Mechanism::ScramSha512 => "SCRAM-SHA-512",
        }
    }
}

/// A text that is never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Password(Arc<str>);

impl Password {
    pub fn new(text: impl Into<Arc<str>>) -> Password {
        Password(text.into())
    }

    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[hidden]")
    }
}

/// SASL on one listener.
#[derive(Clone, PartialEq, Debug)]
pub struct SaslConfig {
    /// At least one, in the order of `sasl.enabled.mechanisms`.
    pub mechanisms: Vec<Mechanism>,
    /// Of PLAIN: `user_NAME="PASSWORD"` in `sasl.jaas.config`.
    pub users: BTreeMap<String, Password>,
    /// `connections.max.reauth.ms` per mechanism; 0 for ever.
    pub reauth_ms_max: BTreeMap<Mechanism, u64>,
    /// `sasl.server.max.receive.size`
    pub request_bytes_max: usize,
}

pub(super) fn parse(
    values: &Values,
    listeners: &Listeners,
) -> Result<Vec<ListenerSecurity>, ConfigError> {
    let unscoped = "sasl.jaas.config";
    if values.0.contains_key(unscoped) {
        let problem = "belongs to a listener and a mechanism: \
                       listener.name.LISTENER.MECHANISM.sasl.jaas.config";
        return Err(values.invalid(unscoped, problem.to_owned()));
    }
    for key in values.0.keys() {
        let Some(scoped) = scoped(key) else { continue };
        let is_known =
            listeners.protocols.iter().any(|(name, _)| name.to_lowercase() == scoped.listener);
        if !is_known {
            let problem = format!("no listener is called {}", scoped.listener);
            return Err(values.invalid(key, problem));
        }
    }
    let of = |(listener, protocol): &(String, SecurityProtocol)| {
        let of_listener = OfListener { values, listener };
        let is_brokers = *listener == listeners.inter_broker;
        let is_quorum = *listener == listeners.controller.name;
        of_listener.check_place(*protocol, is_quorum, is_brokers)?;
        let connects = is_brokers || is_quorum;
        Ok(ListenerSecurity {
            listener: listener.clone(),
            protocol: *protocol,
            tls: protocol.is_tls().then(|| of_listener.tls(*protocol, connects)).transpose()?,
            principal_rules: of_listener.text("ssl.principal.mapping.rules"),
            sasl: protocol.is_sasl().then(|| of_listener.sasl()).transpose()?,
        })
    };
    listeners.protocols.iter().map(of).collect()
}

/// The keys of one listener.
struct OfListener<'a> {
    values: &'a Values,
    listener: &'a str,
}

impl OfListener<'_> {
    fn scoped(&self, key: &str) -> String {
        format!("listener.name.{}.{key}", self.listener.to_lowercase())
    }

    /// The key that counts, with its value; an empty one counts as none.
    fn find(&self, key: &str) -> (String, Option<String>) {
        let scoped = self.scoped(key);
        let (name, value) = match self.values.0.get(&scoped) {
            Some(value) => (scoped, Some(value.clone())),
            None => (key.to_owned(), self.values.text(key)),
        };
        (name, value.filter(|value| !value.is_empty()))
    }

    fn text(&self, key: &str) -> String {
        self.find(key).1.unwrap_or_default()
    }

    fn list(&self, key: &str) -> Vec<String> {
        let text = self.text(key);
        text.split(',').map(|item| item.trim().to_owned()).filter(|item| !item.is_empty()).collect()
    }

    fn invalid(&self, key: &str, problem: String) -> ConfigError {
        let (key, value) = self.find(key);
        let value = shown(&key, &value.unwrap_or_default());
        ConfigError::Invalid { key, value, problem }
    }

    fn missing(&self, key: &str, problem: &str) -> ConfigError {
        ConfigError::Missing { key: self.scoped(key), problem: problem.to_owned() }
    }

    fn check_place(
        &self,
        protocol: SecurityProtocol,
        is_quorum: bool,
        is_brokers: bool,
    ) -> Result<(), ConfigError> {
        const MAP: &str = "listener.security.protocol.map";
        let (name, listener) = (protocol.name(), self.listener);
        if is_quorum && protocol.is_sasl() {
            let problem = format!(
                "listener {listener}: {name} is not supported for the quorum, whose members prove \
                 to each other that they have barnabas.internal.secret.file: use SSL"
            );
            return Err(self.values.invalid(MAP, problem));
        }
        let has_secret = self.values.get::<bool>("barnabas.internal.secret.required")?
            || self.values.text("barnabas.internal.secret.file").is_some_and(|f| !f.is_empty());
        if is_brokers && protocol.is_sasl() && !has_secret {
            let problem = "brokers authenticate by it on their listener";
            let key = "barnabas.internal.secret.file".to_owned();
            return Err(ConfigError::Missing { key, problem: problem.to_owned() });
        }
        Ok(())
    }

    /// `connects`: brokers connect to this listener of each other.
    fn tls(&self, protocol: SecurityProtocol, connects: bool) -> Result<TlsSettings, ConfigError> {
        let auth = match protocol {
            // As in Kafka: where SASL says who somebody is, only the listener's own key counts.
            SecurityProtocol::SaslSsl => {
                self.values.0.get(&self.scoped("ssl.client.auth")).cloned()
            }
            _ => self.find("ssl.client.auth").1,
        };
        let client_auth = match auth.as_deref() {
            Some("required") => ClientAuth::Required,
            Some("requested") => ClientAuth::Requested,
            _ => ClientAuth::None,
        };
        let protocols = self.list("ssl.enabled.protocols");
        if let Some(unknown) = protocols.iter().find(|p| !["TLSv1.2", "TLSv1.3"].contains(&&***p)) {
            let problem = format!("knows TLSv1.2 and TLSv1.3, not {unknown}");
            return Err(self.invalid("ssl.enabled.protocols", problem));
        }
        let speaks = |version: &str| protocols.iter().any(|protocol| protocol == version);
        let trust = self.trust()?;
        let key = "ssl.truststore.location";
        if trust.is_none() && client_auth != ClientAuth::None {
            return Err(self.missing(key, "certificates of clients are verified by it"));
        }
        if trust.is_none() && connects {
            return Err(self.missing(key, "brokers verify each other's certificates by it"));
        }
        let names = self.scoped("ssl.endpoint.identification.algorithm");
        let names = self.values.0.get(&names).cloned();
        let names = names.or_else(|| self.values.text("ssl.endpoint.identification.algorithm"));
        Ok(TlsSettings {
            identity: Some(self.identity()?),
            trust,
            client_auth,
            tls12: speaks("TLSv1.2"),
            tls13: speaks("TLSv1.3"),
            verifies_names: names.is_none_or(|names| !names.is_empty()),
        })
    }

    fn identity(&self) -> Result<TlsIdentity, ConfigError> {
        let location = self.find("ssl.keystore.location").1;
        let chain = self.find("ssl.keystore.certificate.chain").1;
        let key = self.find("ssl.keystore.key").1;
        if location.is_none() && chain.is_none() {
            let problem = "a listener with TLS has a certificate and its key, in one file of PEM";
            return Err(self.missing("ssl.keystore.location", problem));
        }
        let file = location.clone().unwrap_or_else(|| "keystore.jks".to_owned());
        self.check_pem(
            "ssl.keystore.type",
            &format!(
                "keytool -importkeystore -srckeystore {file} -destkeystore keystore.p12 \
                 -deststoretype PKCS12 && "
            ),
            "openssl pkcs12 -nodes -in keystore.p12 -out keystore.pem",
            &file,
        )?;
        match (location, chain, key) {
            (Some(file), None, None) => {
                let pem = Pem::File(file.into());
                Ok(TlsIdentity { chain: pem.clone(), key: pem })
            }
            (None, Some(chain), Some(key)) => {
                Ok(TlsIdentity { chain: Pem::Text(chain.into()), key: Pem::Text(key.into()) })
            }
            (None, ..) => {
                Err(self
                    .missing("ssl.keystore.key", "it belongs to ssl.keystore.certificate.chain"))
            }
            (Some(_), ..) => {
                let problem = "stands beside ssl.keystore.certificate.chain or ssl.keystore.key: \
                               only one of the two ways counts";
                Err(self.invalid("ssl.keystore.location", problem.to_owned()))
            }
        }
    }

    fn trust(&self) -> Result<Option<Pem>, ConfigError> {
        let location = self.find("ssl.truststore.location").1;
        let text = self.find("ssl.truststore.certificates").1;
        let Some(file) = location.clone().or_else(|| text.clone()) else { return Ok(None) };
        let named = location.as_deref().unwrap_or("truststore.jks");
        let convert = format!("keytool -list -rfc -keystore {named} > truststore.pem");
        self.check_pem("ssl.truststore.type", "", &convert, named)?;
        if location.is_some() && text.is_some() {
            let problem = "stands beside ssl.truststore.certificates: only one of the two counts";
            return Err(self.invalid("ssl.truststore.location", problem.to_owned()));
        }
        Ok(Some(if location.is_some() { Pem::File(file.into()) } else { Pem::Text(file.into()) }))
    }

    /// Only PEM is read. What else there is can be converted: `before` is for JKS alone.
    fn check_pem(
        &self,
        key: &str,
        before: &str,
        command: &str,
        file: &str,
    ) -> Result<(), ConfigError> {
        let kind = self.text(key);
        let (before, command) = match kind.as_str() {
            "PEM" => return Ok(()),
            "PKCS12" => ("", command.replace("-in keystore.p12", &format!("-in {file}"))),
            _ => (before, command.to_owned()),
        };
        let problem = format!("only PEM is read; convert with: {before}{command}");
        Err(self.invalid(key, problem))
    }

    fn sasl(&self) -> Result<SaslConfig, ConfigError> {
        const ENABLED: &str = "sasl.enabled.mechanisms";
        let mut mechanisms = Vec::new();
        for name in self.list(ENABLED) {
            let Some(mechanism) = Mechanism::from_name(&name) else {
                let known = Mechanism::ALL.map(Mechanism::name).join(", ");
                return Err(self.invalid(ENABLED, format!("knows {known}, not {name}")));
            };
            if !mechanisms.contains(&mechanism) {
                mechanisms.push(mechanism);
            }
        }
        if mechanisms.is_empty() {
            return Err(self.missing(ENABLED, "a listener with SASL has at least one mechanism"));
        }
        let users = match mechanisms.contains(&Mechanism::Plain) {
            true => self.users()?,
            false => BTreeMap::new(),
        };
        let reauth = |mechanism: &Mechanism| Ok((*mechanism, self.reauth_ms_max(*mechanism)?));
        let reauth_ms_max = mechanisms.iter().map(reauth).collect::<Result<_, ConfigError>>()?;
        let request_bytes_max = self.number("sasl.server.max.receive.size")?;
        Ok(SaslConfig { mechanisms, users, reauth_ms_max, request_bytes_max })
    }

    fn number<T: std::str::FromStr>(&self, key: &str) -> Result<T, ConfigError> {
        self.text(key).parse().map_err(|_| self.invalid(key, "out of range".to_owned()))
    }

    fn reauth_ms_max(&self, mechanism: Mechanism) -> Result<u64, ConfigError> {
        const KEY: &str = "connections.max.reauth.ms";
        let own = self.scoped(&format!("{}.{KEY}", mechanism.name().to_lowercase()));
        match self.values.0.get(&own) {
            Some(text) => {
                text.parse().map_err(|_| self.values.invalid(&own, "out of range".to_owned()))
            }
            None => self.number(KEY),
        }
    }

    /// Of PLAIN, as `PlainLoginModule` has them.
    fn users(&self) -> Result<BTreeMap<String, Password>, ConfigError> {
        let key = self.scoped("plain.sasl.jaas.config");
        let Some(text) = self.values.0.get(&key) else {
            let problem = "PLAIN has its users there: \
                           org.apache.kafka.common.security.plain.PlainLoginModule required \
                           user_NAME=\"PASSWORD\";";
            return Err(self.missing("plain.sasl.jaas.config", problem));
        };
        let invalid = |problem| self.values.invalid(&key, problem);
        let login = jaas::parse(text).map_err(invalid)?;
        if !login.module.ends_with(".PlainLoginModule") {
            return Err(invalid(format!("{} is no PlainLoginModule", login.module)));
        }
        let user = |(name, password): (String, String)| {
            Some((name.strip_prefix("user_")?.to_owned(), Password::new(password)))
        };
        Ok(login.options.into_iter().filter_map(user).collect())
    }
}
