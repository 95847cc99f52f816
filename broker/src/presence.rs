//! Where this broker is to be found, as it tells the cluster.

use config::{Config, Place, SecurityProtocol};
use control::broker_session::Presence;
use metadata::Endpoint;

/// What clients are told; a port of 0 is replaced by the one that was bound.
pub(crate) fn presence(config: &Config, place: &Place, bound_ports: &[u16]) -> Presence {
    let protocol = |listener: &str| {
        let security = config.security_of(listener);
        security.map_or(SecurityProtocol::Plaintext, |security| security.protocol)
    };
    let endpoint = |(told, bound): (&config::Endpoint, &u16)| Endpoint {
        name: told.name.as_str().into(),
        host: told.host.as_str().into(),
        port: if told.port == 0 { *bound } else { told.port },
        security_protocol: protocol(&told.name).name().into(),
    };
    Presence {
        listeners: place.advertised.iter().zip(bound_ports).map(endpoint).collect(),
        rack: place.rack.as_deref().map(Into::into),
    }
}
