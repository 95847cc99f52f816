//! The listeners of a broker: which there are, which one is whose, and what each speaks.

use super::error::ConfigError;
use super::listener::{Endpoint, SecurityProtocol, Voter, parse_endpoints, parse_protocol_map};
use super::values::Values;

pub(super) struct Listeners {
    pub clients: Vec<Endpoint>,
    pub advertised: Vec<Endpoint>,
    pub inter_broker: String,
    pub controller: Endpoint,
    pub controller_advertised: Endpoint,
    /// Every interface is bound and nobody said by which name others find this node.
    controller_unnamed: bool,
    /// What each of all listeners speaks.
    pub protocols: Vec<(String, SecurityProtocol)>,
}

impl Listeners {
    pub fn parse(values: &Values) -> Result<Listeners, ConfigError> {
        let endpoints =
            |name: &str| parse_endpoints(&values.list(name)).map_err(|p| values.invalid(name, p));
        let all = endpoints("listeners")?;
        let controller_names: Vec<String> =
            values.list("controller.listener.names").iter().map(|n| n.to_uppercase()).collect();
        let Some(controller_name) = controller_names.first() else {
            let problem = "names the listener (in listeners) of the metadata quorum".to_owned();
            return Err(ConfigError::Missing { key: "controller.listener.names".into(), problem });
        };
        let protocols = Listeners::protocols(values, &all, &controller_names)?;
        let (controllers, clients): (Vec<Endpoint>, Vec<Endpoint>) =
            all.into_iter().partition(|e| controller_names.contains(&e.name));
        let Some(controller) = controllers.into_iter().find(|e| e.name == *controller_name) else {
            let problem = format!("lacks the controller listener {controller_name}");
            return Err(values.invalid("listeners", problem));
        };
        if clients.is_empty() {
            return Err(values.invalid("listeners", "needs a client listener".to_owned()));
        }
        let announced = endpoints("advertised.listeners")?;
        let announce =
            |bound: &Endpoint| {
                announced.iter().find(|e| e.name == bound.name).cloned().unwrap_or_else(|| {
                    Endpoint { host: reachable_host(&bound.host), ..bound.clone() }
                })
            };
        let stranger = |e: &&Endpoint| {
            e.name != controller.name && !clients.iter().any(|client| client.name == e.name)
        };
        if let Some(stranger) = announced.iter().find(stranger) {
            let problem = format!("{} is not in listeners", stranger.name);
            return Err(values.invalid("advertised.listeners", problem));
        }
        let inter_broker = Listeners::inter_broker(values, &clients)?;
        let named = announced.iter().any(|e| e.name == controller.name);
        Ok(Listeners {
            protocols,
            controller_unnamed: !named && is_wildcard(&controller.host),
            advertised: clients.iter().map(announce).collect(),
            controller_advertised: announce(&controller),
            clients,
            inter_broker,
            controller,
        })
    }

    /// The list of voters has an address at which the others find a voter.
    pub fn controller_address(&self, own: Option<&Voter>) -> Endpoint {
        let guess = self.controller_advertised.clone();
        match own.filter(|_| self.controller_unnamed) {
            Some(voter) => Endpoint { host: voter.host.clone(), port: voter.port, ..guess },
            None => guess,
        }
    }

    fn inter_broker(values: &Values, clients: &[Endpoint]) -> Result<String, ConfigError> {
        let name = "inter.broker.listener.name";
        match values.text(name) {
            None => {
                let key = "security.inter.broker.protocol";
                let protocol = values.text(key).unwrap_or_default();
                match clients.iter().find(|e| e.name == protocol) {
                    Some(named) => Ok(named.name.clone()),
                    // By default, brokers use the first one.
                    None if !values.0.contains_key(key) => Ok(clients[0].name.clone()),
                    None => Err(values.invalid(key, "is the name of no listener".to_owned())),
                }
            }
            Some(_) if values.0.contains_key("security.inter.broker.protocol") => {
                let problem = "and security.inter.broker.protocol exclude each other".to_owned();
                Err(values.invalid(name, problem))
            }
            Some(text) => {
                let wanted = text.to_uppercase();
                if clients.iter().any(|e| e.name == wanted) {
                    Ok(wanted)
                } else {
                    Err(values.invalid(name, "is not in listeners".to_owned()))
                }
            }
        }
    }

    /// What each listener speaks. Without a map the quorum's is plaintext, as in Kafka.
    fn protocols(
        values: &Values,
        listeners: &[Endpoint],
        controllers: &[String],
    ) -> Result<Vec<(String, SecurityProtocol)>, ConfigError> {
        const KEY: &str = "listener.security.protocol.map";
        let map = parse_protocol_map(&values.list(KEY)).map_err(|p| values.invalid(KEY, p))?;
        let protocol = |listener: &Endpoint| {
            let name = &listener.name;
            match map.iter().find(|(mapped, _)| mapped == name) {
                Some((_, protocol)) => SecurityProtocol::from_name(protocol).ok_or_else(|| {
                    values.invalid(KEY, format!("listener {name}: {protocol} is no protocol"))
                }),
                None if controllers.contains(name) && !values.0.contains_key(KEY) => {
                    Ok(SecurityProtocol::Plaintext)
                }
                None => Err(values.invalid(KEY, format!("has no protocol for listener {name}"))),
            }
        };
        let named = |listener| Ok((Endpoint::clone(listener).name, protocol(listener)?));
        listeners.iter().map(named).collect()
    }
}

fn is_wildcard(host: &str) -> bool {
    matches!(host, "" | "0.0.0.0" | "::")
}

/// What to tell others when only a wildcard is bound: the host name, as Kafka does.
fn reachable_host(bound: &str) -> String {
    if !is_wildcard(bound) {
        return bound.to_owned();
    }
    let name = rustix::system::uname();
    name.nodename().to_str().ok().filter(|n| !n.is_empty()).unwrap_or("localhost").to_owned()
}
