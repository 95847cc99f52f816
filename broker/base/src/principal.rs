//! Who a connection speaks for: Kafka's `KafkaPrincipal`.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// A type and a name, `User:alice` as text. Cheap to clone.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Principal {
    /// `User` for everybody that Kafka's own listeners know.
    pub kind: Arc<str>,
    pub name: Arc<str>,
}

/// A text without a type before its first colon.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ParsePrincipalError(pub String);

impl Principal {
    pub const USER: &str = "User";
    const ANONYMOUS: &str = "ANONYMOUS";

    /// A principal of the type `User`.
    pub fn user(name: impl Into<Arc<str>>) -> Principal {
        Principal { kind: Principal::USER.into(), name: name.into() }
    }

    /// Whoever did not authenticate: `User:ANONYMOUS`.
    pub fn anonymous() -> Principal {
        Principal::user(Principal::ANONYMOUS)
    }

    pub fn is_anonymous(&self) -> bool {
        &*self.kind == Principal::USER && &*self.name == Principal::ANONYMOUS
    }
}

impl fmt::Display for Principal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.kind, self.name)
    }
}

impl FromStr for Principal {
    type Err = ParsePrincipalError;

    /// As `SecurityUtils.parseKafkaPrincipal`: the type goes to the first colon, and either part
    /// may not be missing.
    fn from_str(text: &str) -> Result<Principal, ParsePrincipalError> {
        match text.split_once(':') {
            Some((kind, name)) if !kind.is_empty() => {
                Ok(Principal { kind: kind.into(), name: name.into() })
            }
            _ => Err(ParsePrincipalError(text.to_owned())),
        }
    }
}

impl fmt::Display for ParsePrincipalError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} is not of the form type:name, such as User:alice", self.0)
    }
}

impl std::error::Error for ParsePrincipalError {}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_principal_is_read_as_it_is_written() {
        for text in ["User:alice", "User:CN=a,O=b:c", "Group:x", "User:*", "User:"] {
            assert_eq!(text.parse::<Principal>().unwrap().to_string(), text);
        }
        for text in ["", "alice", ":alice"] {
            assert!(text.parse::<Principal>().is_err(), "{text:?}");
        }
        assert!("User:ANONYMOUS".parse::<Principal>().unwrap().is_anonymous());
        assert!(!"Group:ANONYMOUS".parse::<Principal>().unwrap().is_anonymous());
    }
}
