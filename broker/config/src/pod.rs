//! What may change while a broker runs because its place does: the rack it is in and the addresses
//! at which clients reach it. On Kubernetes both are known only once the pod has its node, so they
//! come in a file of their own (`--pod-config`) that may appear, and change, at any time.

use std::collections::BTreeMap;

use super::error::ConfigError;
use super::listener::{Endpoint, parse_endpoints};
use super::parse::check_key;
use super::{Config, parse_properties};

const RACK: &str = "broker.rack";
const ADVERTISED: &str = "advertised.listeners";

/// Where this broker is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Place {
    pub rack: Option<String>,
    /// What clients are told, one per client listener in the order of [`Config::listeners`].
    pub advertised: Vec<Endpoint>,
}

impl Place {
    /// As the configuration has it.
    pub fn of(config: &Config) -> Place {
        Place { rack: config.rack.clone(), advertised: config.advertised.clone() }
    }

    /// The configuration with the file on top. Only the two keys may be in it; a listener that it
    /// does not name stays as configured.
    pub fn parse(config: &Config, text: &str) -> Result<Place, ConfigError> {
        let unreadable = |e: super::PropertiesError| ConfigError::File {
            path: "the pod's properties".to_owned(),
            problem: e.to_string(),
        };
        let properties = parse_properties(text).map_err(unreadable)?;
        let mut place = Place::of(config);
        for (name, value) in &properties {
            check_key(name, value)?;
            match name.as_str() {
                RACK => place.rack = Some(value.clone()).filter(|rack| !rack.is_empty()),
                ADVERTISED => place.advertise(config, &properties)?,
                _ => {
                    let problem = "cannot change while the broker runs".to_owned();
                    return Err(invalid(name, value, problem));
                }
            }
        }
        Ok(place)
    }

    fn advertise(
        &mut self,
        config: &Config,
        properties: &BTreeMap<String, String>,
    ) -> Result<(), ConfigError> {
        let value = properties.get(ADVERTISED).map_or("", String::as_str);
        let refuse = |problem: String| invalid(ADVERTISED, value, problem);
        let items: Vec<String> =
            value.split(',').map(|i| i.trim().to_owned()).filter(|i| !i.is_empty()).collect();
        for endpoint in parse_endpoints(&items).map_err(refuse)? {
            if endpoint.host.is_empty() {
                return Err(refuse(format!("listener {} has no host", endpoint.name)));
            }
            if endpoint.name == config.controller_listener.name {
                // The quorum knows this node by the address it started with.
                if endpoint != config.controller_advertised {
                    let problem = "the address of the controller listener is fixed".to_owned();
                    return Err(refuse(problem));
                }
                continue;
            }
            match self.advertised.iter_mut().find(|known| known.name == endpoint.name) {
                Some(known) => *known = endpoint,
                None => return Err(refuse(format!("{} is not in listeners", endpoint.name))),
            }
        }
        Ok(())
    }
}

fn invalid(key: &str, value: &str, problem: String) -> ConfigError {
    ConfigError::Invalid { key: key.to_owned(), value: value.to_owned(), problem }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn config() -> Config {
        let text = "node.id=1\nbroker.rack=file\n\
            listeners=PLAIN://:9092,OUTSIDE://:9094,CONTROLLER://:9093\n\
            advertised.listeners=PLAIN://b-1.svc:9092,OUTSIDE://b-1.svc:9094,\
            CONTROLLER://b-1.svc:9093\n\
            listener.security.protocol.map=PLAIN:PLAINTEXT,OUTSIDE:PLAINTEXT,\
            CONTROLLER:PLAINTEXT\n\
            controller.listener.names=CONTROLLER\n";
        Config::from_properties(parse_properties(text).unwrap()).unwrap()
    }

    fn place(text: &str) -> Result<(Option<String>, String), String> {
        let place = Place::parse(&config(), text).map_err(|e| e.to_string())?;
        let told: Vec<String> = place.advertised.iter().map(ToString::to_string).collect();
        Ok((place.rack, told.join(",")))
    }

    const CONFIGURED: &str = "PLAIN://b-1.svc:9092,OUTSIDE://b-1.svc:9094";

    #[test]
    fn the_file_lies_over_the_configuration() {
        assert_eq!(place(""), Ok((Some("file".into()), CONFIGURED.into())));
        assert_eq!(place("broker.rack=a"), Ok((Some("a".into()), CONFIGURED.into())));
        assert_eq!(place("broker.rack="), Ok((None, CONFIGURED.into())));
        let text = "advertised.listeners=OUTSIDE://203.0.113.9:31001,CONTROLLER://b-1.svc:9093";
        let told = "PLAIN://b-1.svc:9092,OUTSIDE://203.0.113.9:31001";
        assert_eq!(place(text), Ok((Some("file".into()), told.into())));
    }

    #[test]
    fn what_cannot_change_is_refused_by_name() {
        for (text, names) in [
            ("node.id=2", "node.id: cannot change"),
            ("num.partition=2", "num.partition"),
            ("advertised.listeners=OTHER://a:1", "OTHER is not in listeners"),
            ("advertised.listeners=PLAIN://a", "advertised.listeners"),
            ("advertised.listeners=PLAIN://:9092", "PLAIN has no host"),
            ("advertised.listeners=CONTROLLER://elsewhere:9093", "controller listener is fixed"),
            ("=x", "the pod's properties: line 1"),
        ] {
            let refused = place(text).unwrap_err();
            assert!(refused.contains(names), "{text}: {refused}");
        }
    }
}
