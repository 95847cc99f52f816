//! Listeners: `NAME://host:port` lists, the protocol map and `id@host:port` voters.

use std::fmt;

use base::BrokerId;

/// A named address: what to bind (empty host = every interface) or what to advertise.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Endpoint {
    pub name: String,
    pub host: String,
    pub port: u16,
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "{}://[{}]:{}", self.name, self.host, self.port)
        } else {
            write!(f, "{}://{}:{}", self.name, self.host, self.port)
        }
    }
}

/// `listener.security.protocol.map`
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SecurityProtocol {
    Plaintext,
    Ssl,
    SaslPlaintext,
    SaslSsl,
}

impl SecurityProtocol {
    const ALL: [SecurityProtocol; 4] = [
        SecurityProtocol::Plaintext,
        SecurityProtocol::Ssl,
        SecurityProtocol::SaslPlaintext,
        SecurityProtocol::SaslSsl,
    ];

    pub fn from_name(name: &str) -> Option<SecurityProtocol> {
        SecurityProtocol::ALL.into_iter().find(|protocol| protocol.name() == name)
    }

    /// Kafka's word.
    pub fn name(self) -> &'static str {
        match self {
            SecurityProtocol::Plaintext => "PLAINTEXT",
            SecurityProtocol::Ssl => "SSL",
            SecurityProtocol::SaslPlaintext => "SASL_PLAINTEXT",
            SecurityProtocol::SaslSsl => "SASL_SSL",
        }
    }

    pub fn is_tls(self) -> bool {
        matches!(self, SecurityProtocol::Ssl | SecurityProtocol::SaslSsl)
    }

    pub fn is_sasl(self) -> bool {
        matches!(self, SecurityProtocol::SaslPlaintext | SecurityProtocol::SaslSsl)
    }
}

/// A voter of the metadata quorum.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Voter {
    pub id: BrokerId,
    pub host: String,
    pub port: u16,
}

/// Splits `host:port`, with IPv6 addresses in brackets.
pub fn parse_host_port(text: &str) -> Result<(String, u16), String> {
    let (host, port) =
        text.rsplit_once(':').ok_or_else(|| format!("{text:?} is not of the form host:port"))?;
    let port = port.parse().map_err(|_| format!("{port:?} is not a port"))?;
    let host = match host.strip_prefix('[') {
        Some(inner) => {
            inner.strip_suffix(']').ok_or_else(|| format!("{host:?} lacks its bracket"))?
        }
        None if host.contains(':') => return Err(format!("{host:?} needs brackets")),
        None => host,
    };
    Ok((host.to_owned(), port))
}

/// Parses a list of `NAME://host:port`.
pub fn parse_endpoints(items: &[String]) -> Result<Vec<Endpoint>, String> {
    let mut endpoints: Vec<Endpoint> = Vec::new();
    for item in items {
        let (name, address) = item
            .split_once("://")
            .ok_or_else(|| format!("{item:?} is not of the form NAME://host:port"))?;
        if name.is_empty() {
            return Err(format!("{item:?} has no listener name"));
        }
        let (host, port) = parse_host_port(address)?;
        let name = name.to_uppercase();
        if endpoints.iter().any(|e| e.name == name) {
            return Err(format!("listener {name} is defined twice"));
        }
        endpoints.push(Endpoint { name, host, port });
    }
    Ok(endpoints)
}

/// Parses `NAME:PROTOCOL` pairs.
pub fn parse_protocol_map(items: &[String]) -> Result<Vec<(String, String)>, String> {
    items
        .iter()
        .map(|item| match item.split_once(':') {
            Some((name, protocol)) => {
                Ok((name.trim().to_uppercase(), protocol.trim().to_uppercase()))
            }
            None => Err(format!("{item:?} is not of the form NAME:PROTOCOL")),
        })
        .collect()
}

/// Parses a list of `id@host:port`.
pub fn parse_voters(items: &[String]) -> Result<Vec<Voter>, String> {
    let mut voters: Vec<Voter> = Vec::new();
    for item in items {
        let (id, address) = item
            .split_once('@')
            .ok_or_else(|| format!("{item:?} is not of the form id@host:port"))?;
        let id = id.parse::<i32>().ok().filter(|&id| id >= 0);
        let id = BrokerId(id.ok_or_else(|| format!("{item:?} has no valid node id"))?);
        let (host, port) = parse_host_port(address)?;
        if voters.iter().any(|v| v.id == id) {
            return Err(format!("voter {id} is defined twice"));
        }
        voters.push(Voter { id, host, port });
    }
    Ok(voters)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn endpoints() {
        let parsed = parse_endpoints(&["plaintext://:9092".into(), "A://[::1]:1".into()]).unwrap();
        assert_eq!(parsed[0], Endpoint { name: "PLAINTEXT".into(), host: "".into(), port: 9092 });
        assert_eq!(parsed[1].to_string(), "A://[::1]:1");
        for bad in ["A", "A://", "A://x", "A://x:99999", "://x:1", "A://::1:1"] {
            assert!(parse_endpoints(&[bad.to_owned()]).is_err(), "{bad}");
        }
    }

    #[test]
    fn voters() {
        let parsed = parse_voters(&["1@a:2".into()]).unwrap();
        assert_eq!(parsed, [Voter { id: BrokerId(1), host: "a".into(), port: 2 }]);
        for bad in ["a:2", "x@a:2", "-1@a:2", "1@a"] {
            assert!(parse_voters(&[bad.to_owned()]).is_err(), "{bad}");
        }
        assert!(parse_voters(&["1@a:2".into(), "1@b:2".into()]).is_err());
    }
}
