//! What the sender of a request may do: the rules of the newest image, asked for its principal and
//! host. Without an authorizer, and for brokers that proved to be some, that is everything.

use std::sync::Arc;

use authorizer::{CLUSTER_NAME, Operation, Requester, ResourceType, Verdict};
use base::ErrorCode;
use metadata::Image;
use wire::ApiKey;

use crate::access::{self, Sender};
use crate::authorization::Authorization;
use crate::{Broker, RequestContext};

/// What is told of a resource's name.
const NAME_BYTES_TOLD_MAX: usize = 256;

/// What one request's sender may do.
pub struct Permit(Option<Asking>);

struct Asking {
    rules: Arc<Authorization>,
    image: Arc<Image>,
    who: Requester,
    api: ApiKey,
    client_id: Arc<str>,
}

/// The code for somebody who may not do something with such a resource.
pub fn refused(resource_type: ResourceType) -> ErrorCode {
    match resource_type {
        ResourceType::Topic => ErrorCode::TopicAuthorizationFailed,
        ResourceType::Group => ErrorCode::GroupAuthorizationFailed,
        ResourceType::Cluster | ResourceType::User => ErrorCode::ClusterAuthorizationFailed,
        ResourceType::TransactionalId => ErrorCode::TransactionalIdAuthorizationFailed,
        ResourceType::DelegationToken => ErrorCode::DelegationTokenAuthorizationFailed,
    }
}

impl Broker {
    /// What the sender may do, by the rules of this moment.
    pub fn permit(&self, cx: &RequestContext) -> Permit {
        let Some(rules) = &self.authorization else { return Permit(None) };
        if matches!(cx.sender, Sender::Broker(_)) {
            return Permit(None);
        }
        Permit(Some(Asking {
            rules: rules.clone(),
            image: self.image(),
            who: Requester::new(cx.principal.to_string(), cx.host()),
            api: cx.api,
            client_id: cx.client_id.clone(),
        }))
    }
}

impl Permit {
    /// From now on by the rules of this moment: for whoever waits between two questions.
    pub fn renew(&mut self, broker: &Broker) {
        if let Some(asking) = &mut self.0 {
            asking.image = broker.image();
        }
    }

    /// Whether everything is allowed.
    pub fn is_open(&self) -> bool {
        self.0.is_none()
    }

    /// Whether the operation is allowed; a denial is told.
    pub fn may(&self, operation: Operation, resource_type: ResourceType, name: &str) -> bool {
        let Some(asking) = &self.0 else { return true };
        let verdict = asking.verdict(operation, resource_type, name);
        if !verdict.is_allowed() {
            asking.tell(verdict, operation, resource_type, name);
        }
        verdict.is_allowed()
    }

    /// The same where a denial is no news: what is left out of a list, or the first of two ways.
    pub fn sees(&self, operation: Operation, resource_type: ResourceType, name: &str) -> bool {
        let ask = |asking: &Asking| asking.verdict(operation, resource_type, name).is_allowed();
        self.0.as_ref().is_none_or(ask)
    }

    pub fn may_cluster(&self, operation: Operation) -> bool {
        self.may(operation, ResourceType::Cluster, CLUSTER_NAME)
    }

    pub fn sees_cluster(&self, operation: Operation) -> bool {
        self.sees(operation, ResourceType::Cluster, CLUSTER_NAME)
    }

    /// The code to answer where the operation is not allowed.
    pub fn check(
        &self,
        operation: Operation,
        resource_type: ResourceType,
        name: &str,
    ) -> Result<(), ErrorCode> {
        match self.may(operation, resource_type, name) {
            true => Ok(()),
            false => Err(refused(resource_type)),
        }
    }

    /// Whether the sender may have a producer id: it may write idempotently, or to any topic.
    pub fn may_be_idempotent(&self) -> bool {
        let Some(asking) = &self.0 else { return true };
        let (write, topic) = (Operation::Write, ResourceType::Topic);
        let Asking { rules, image, who, .. } = asking;
        let is_allowed = self.sees_cluster(Operation::IdempotentWrite)
            || rules.authorizer.authorize_by_type(image.acls(), who, write, topic);
        if !is_allowed {
            asking.tell(Verdict::NotAllowed, write, topic, "");
        }
        is_allowed
    }

    /// The operations that are allowed, as bits by their codes.
    pub fn operations(&self, resource_type: ResourceType, name: &str) -> i32 {
        match &self.0 {
            None => all_operations(resource_type),
            Some(Asking { rules, image, who, .. }) => {
                rules.authorizer.authorized_operations(image.acls(), who, resource_type, name)
            }
        }
    }

    /// The operations that are allowed on the cluster; none are told to those who may not
    /// describe it.
    pub fn cluster_operations(&self) -> i32 {
        match self.may_cluster(Operation::Describe) {
            true => self.operations(ResourceType::Cluster, CLUSTER_NAME),
            false => 0,
        }
    }
}

fn all_operations(resource_type: ResourceType) -> i32 {
    let operations = resource_type.operations().iter();
    operations.fold(0, |bits, operation| bits | 1 << operation.code())
}

impl Asking {
    fn verdict(&self, operation: Operation, resource_type: ResourceType, name: &str) -> Verdict {
        debug_assert!(
            access::row(self.api).lists((operation, resource_type)),
            "the table does not say that {} needs {operation:?} of {resource_type:?}",
            self.api,
        );
        let acls = self.image.acls();
        self.rules.authorizer.authorize(acls, &self.who, operation, resource_type, name)
    }

    /// A line for the audit, unless there are too many.
    fn tell(
        &self,
        verdict: Verdict,
        operation: Operation,
        resource_type: ResourceType,
        name: &str,
    ) {
        let Some(held_back) = self.rules.denials.take() else { return };
        let told = &name[..name.floor_char_boundary(NAME_BYTES_TOLD_MAX)];
        tracing::info!(
            target: "audit",
            principal = ?self.who.principal,
            host = %self.who.host,
            client = ?self.client_id,
            api = %self.api,
            operation = operation.name(),
            resource_type = resource_type.name(),
            resource = ?told,
            reason = ?verdict,
            held_back,
            "access denied"
        );
    }
}
