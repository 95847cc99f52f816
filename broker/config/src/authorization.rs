//! Who may do what, as far as the file says it. The rules themselves are metadata.

use authorizer::Authorizer;

use super::error::ConfigError;
use super::values::Values;

/// The authorizer that Kafka has for clusters without ZooKeeper: the one whose rules are kept here.
const STANDARD: &str = "org.apache.kafka.metadata.authorizer.StandardAuthorizer";
const CLASS: &str = "authorizer.class.name";
const SUPER_USERS: &str = "super.users";

impl Values {
    pub(super) fn authorizer(&self) -> Result<Option<Authorizer>, ConfigError> {
        let class = self.text(CLASS).unwrap_or_default();
        if class.is_empty() {
            return Ok(None);
        }
        if class != STANDARD {
            let problem = format!("there is no other authorizer than {STANDARD}");
            return Err(self.invalid(CLASS, problem));
        }
        let super_users = self.text(SUPER_USERS).unwrap_or_default();
        let allow_without_rules = self.get("allow.everyone.if.no.acl.found")?;
        let authorizer = Authorizer::new(&super_users, allow_without_rules);
        authorizer.map(Some).map_err(|error| self.invalid(SUPER_USERS, error.to_string()))
    }
}
