//! Credentials of SCRAM: what is kept of a password, from which nobody can log in.

use std::fmt;
use std::sync::Arc;

use imbl::OrdMap;
use serde::{Deserialize, Serialize};

/// Kafka's numbers of the mechanisms.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub enum ScramMechanism {
    Sha256,
    Sha512,
}

impl ScramMechanism {
    pub const ALL: [ScramMechanism; 2] = [ScramMechanism::Sha256, ScramMechanism::Sha512];

    pub fn code(self) -> i8 {
        match self {
            ScramMechanism::Sha256 => 1,
            ScramMechanism::Sha512 => 2,
        }
    }

    pub fn from_code(code: i8) -> Option<ScramMechanism> {
        ScramMechanism::ALL.into_iter().find(|mechanism| mechanism.code() == code)
    }
}

/// One credential of one user.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScramCredential {
    pub salt: Arc<[u8]>,
    pub stored_key: Arc<[u8]>,
    pub server_key: Arc<[u8]>,
    pub iterations: i32,
}

impl fmt::Debug for ScramCredential {
    /// Keys are never shown.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ScramCredential({} iterations)", self.iterations)
    }
}

/// The credentials of one user.
pub type UserCredentials = Arc<Vec<(ScramMechanism, ScramCredential)>>;

/// The credentials of all users, by their names.
#[derive(Clone, PartialEq, Default, Debug)]
pub struct ScramCredentials(OrdMap<Arc<str>, UserCredentials>);

impl ScramCredentials {
    pub fn get(&self, user: &str, mechanism: ScramMechanism) -> Option<&ScramCredential> {
        let found = self.0.get(user)?.iter().find(|(known, _)| *known == mechanism);
        found.map(|(_, credential)| credential)
    }

    /// Users in the order of their names, each with its credentials in the order of mechanisms.
    pub fn users(&self) -> impl Iterator<Item = (&Arc<str>, &UserCredentials)> {
        self.0.iter()
    }

    pub fn of_user(&self, user: &str) -> Option<&UserCredentials> {
        self.0.get(user)
    }

    pub(crate) fn insert(
        &mut self,
        user: Arc<str>,
        mechanism: ScramMechanism,
        credential: ScramCredential,
    ) {
        let mut all = self.0.get(&user).map(|all| (**all).clone()).unwrap_or_default();
        all.retain(|(known, _)| *known != mechanism);
        all.push((mechanism, credential));
        all.sort_by_key(|(mechanism, _)| *mechanism);
        self.0.insert(user, Arc::new(all));
    }

    /// False: there is none.
    pub(crate) fn remove(&mut self, user: &str, mechanism: ScramMechanism) -> bool {
        if self.get(user, mechanism).is_none() {
            return false;
        }
        let mut all = self.0.get(user).map(|all| (**all).clone()).unwrap_or_default();
        all.retain(|(known, _)| *known != mechanism);
        match all.is_empty() {
            true => self.0.remove(user),
            false => self.0.insert(user.into(), Arc::new(all)),
        };
        true
    }
}
