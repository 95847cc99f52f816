//! Hosts of rules: an address by its text, as Kafka compares it, or a range (`10.0.0.0/8`).

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use crate::acl::WILDCARD;

/// What is wrong with a range.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum HostError {
    #[error("Could not parse [{0}]")]
    Malformed(String),
    #[error("Value [{0}] not in range [0,{1}]")]
    OutOfRange(u32, u32),
}

/// The host of a rule.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum HostPattern {
    Any,
    Text(Arc<str>),
    /// The bits of the network, and how many of them count.
    V4(u32, u32),
    V6(u128, u32),
}

/// An address as Java's `InetAddress.getHostAddress` prints it: rules compare with this text.
pub fn host_text(address: IpAddr) -> String {
    match address.to_canonical() {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => {
            let segments: Vec<String> =
                address.segments().iter().map(|segment| format!("{segment:x}")).collect();
            segments.join(":")
        }
    }
}

impl HostPattern {
    pub fn parse(text: &Arc<str>) -> Result<HostPattern, HostError> {
        match text.split_once('/') {
            _ if **text == *WILDCARD => Ok(HostPattern::Any),
            None => Ok(HostPattern::Text(text.clone())),
            Some((network, bits)) if network.contains(':') => v6(text, network, bits),
            Some((network, bits)) => v4(text, network, bits),
        }
    }

    pub fn matches(&self, host: &str, address: IpAddr) -> bool {
        match (self, address) {
            (HostPattern::Any, _) => true,
            (HostPattern::Text(text), _) => **text == *host,
            (HostPattern::V4(network, bits), IpAddr::V4(address)) => {
                let differing = network ^ address.to_bits();
                differing.checked_shr(32 - bits).unwrap_or(0) == 0
            }
            (HostPattern::V6(network, bits), IpAddr::V6(address)) => {
                let differing = network ^ address.to_bits();
                differing.checked_shr(128 - bits).unwrap_or(0) == 0
            }
            (HostPattern::V4(..) | HostPattern::V6(..), _) => false,
        }
    }
}

/// A number of at most `digits` decimal digits and nothing else, within `0..=max`.
fn number(whole: &str, text: &str, digits: usize, max: u32) -> Result<u32, HostError> {
    let is_number = (1..=digits).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
    let malformed = || HostError::Malformed(whole.to_owned());
    let number: u32 = text.parse().ok().filter(|_| is_number).ok_or_else(malformed)?;
    if number > max {
        return Err(HostError::OutOfRange(number, max));
    }
    Ok(number)
}

fn v4(whole: &str, network: &str, bits: &str) -> Result<HostPattern, HostError> {
    let parts: Vec<&str> = network.split('.').collect();
    let [a, b, c, d] = parts[..] else { return Err(HostError::Malformed(whole.to_owned())) };
    let mut octets = [0; 4];
    for (octet, part) in octets.iter_mut().zip([a, b, c, d]) {
        *octet = number(whole, part, 3, 255)? as u8;
    }
    let bits = number(whole, bits, 2, 32)?;
    Ok(HostPattern::V4(Ipv4Addr::from(octets).to_bits(), bits))
}

fn v6(whole: &str, network: &str, bits: &str) -> Result<HostPattern, HostError> {
    let malformed = |_| HostError::Malformed(whole.to_owned());
    let address: Ipv6Addr = network.parse().map_err(malformed)?;
    if address.to_ipv4_mapped().is_some() {
        // Java takes it for an address of IPv4.
        return Err(HostError::Malformed(network.to_owned()));
    }
    Ok(HostPattern::V6(address.to_bits(), number(whole, bits, 3, 128)?))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn matches(host: &str, pattern: &str) -> Result<bool, HostError> {
        let address: IpAddr = host.parse().unwrap();
        let pattern = HostPattern::parse(&pattern.into())?;
        Ok(pattern.matches(&host_text(address), address.to_canonical()))
    }

    #[test]
    fn addresses_are_printed_as_java_prints_them() {
        let text = |address: &str| host_text(address.parse().unwrap());
        assert_eq!(text("10.0.0.1"), "10.0.0.1");
        assert_eq!(text("::1"), "0:0:0:0:0:0:0:1");
        assert_eq!(text("::ffff:10.0.0.1"), "10.0.0.1");
        assert_eq!(text("2001:DB8::a"), "2001:db8:0:0:0:0:0:a");
    }

    /// What Kafka 4.4.0's `CidrUtils` said of these pairs.
    #[test]
    fn ranges_match_as_those_of_kafka() {
        for (host, pattern) in [
            ("10.0.0.1", "10.0.0.0/8"),
            ("10.0.0.1", "10.0.0.5/8"),
            ("10.0.0.1", "10.0.0.1/32"),
            ("10.0.0.1", "0.0.0.0/0"),
            ("10.0.0.1", "10.0.0.0/08"),
            ("10.0.0.1", "010.0.0.0/8"),
            ("::1", "::1/128"),
            ("::1", "::/0"),
            ("::1", "0:0:0:0:0:0:0:1/120"),
        ] {
            assert_eq!(matches(host, pattern), Ok(true), "{host} {pattern}");
        }
        for (host, pattern) in [("10.0.0.1", "::/0"), ("10.0.0.1", "11.0.0.0/8"), ("::1", "::/128")]
        {
            assert_eq!(matches(host, pattern), Ok(false), "{host} {pattern}");
        }
        for pattern in [
            "/8",
            "10.0.0.0/-1",
            "10.0.0.0/+8",
            "10/8",
            "localhost/8",
            "::ffff:10.0.0.0/104",
            "10.0.0.0/8/8",
            "10.0.0.0/",
            " 10.0.0.0/8",
            "10.0.0.0/ 8",
            "10.0.0/8",
        ] {
            assert!(
                matches!(matches("10.0.0.1", pattern), Err(HostError::Malformed(_))),
                "{pattern}"
            );
        }
        for pattern in ["10.0.0.0/33", "10.0.0.256/8", "::/129"] {
            assert!(
                matches!(matches("10.0.0.1", pattern), Err(HostError::OutOfRange(..))),
                "{pattern}"
            );
        }
    }

    #[test]
    fn other_hosts_are_compared_as_text() {
        assert_eq!(matches("10.0.0.1", "10.0.0.1"), Ok(true));
        assert_eq!(matches("10.0.0.1", "10.0.0.2"), Ok(false));
        assert_eq!(matches("::1", "::1"), Ok(false), "Kafka compares with the long form");
        assert_eq!(matches("::1", "0:0:0:0:0:0:0:1"), Ok(true));
        assert_eq!(matches("10.0.0.1", "*"), Ok(true));
    }
}
