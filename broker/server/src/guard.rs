//! What a request needs as a whole, asked in one place before its handler. The table
//! (`access::row`) says which APIs have such needs. `dispatch` holds them to it when it is
//! compiled.

use authorizer::{CLUSTER_NAME, Operation, ResourceType};
use base::ErrorCode;

use crate::access;
use crate::authorize::{Permit, refused};

/// One thing that the sender has to be allowed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Demand<'a> {
    Of(Operation, ResourceType, &'a str),
    /// To have a producer id without a transactional one.
    Idempotence,
}

/// Why a request is refused, with what people are told where there is a place for it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Refusal {
    pub code: ErrorCode,
    pub message: String,
}

impl Refusal {
    /// The message as responses carry it.
    pub fn text(&self) -> Option<wire::Str> {
        Some(wire::Str::from(&self.message))
    }
}

/// A request that is refused as a whole.
pub trait Guarded: wire::Request {
    /// All that is needed. Unless said otherwise, the table's operations on the cluster.
    fn demands(&self) -> Vec<Demand<'_>> {
        let head = access::row(Self::KEY).head.iter();
        head.map(|(operation, resource)| Demand::Of(*operation, *resource, CLUSTER_NAME)).collect()
    }

    /// The response without anything in it but the refusal.
    fn refuse(&self, version: i16, refusal: &Refusal) -> Self::Response;
}

/// The first demand that is not met.
pub fn refusal<R: Guarded>(permit: &Permit, request: &R) -> Option<Refusal> {
    if permit.is_open() {
        return None;
    }
    request.demands().into_iter().find_map(|demand| {
        let (is_met, code) = match demand {
            Demand::Of(operation, resource_type, name) => {
                (permit.may(operation, resource_type, name), refused(resource_type))
            }
            Demand::Idempotence => {
                (permit.may_be_idempotent(), ErrorCode::ClusterAuthorizationFailed)
            }
        };
        let message = match demand {
            Demand::Of(operation, ResourceType::Cluster, _) => {
                format!("Request {} needs {} permission.", R::KEY, operation.name())
            }
            _ => code.message().to_owned(),
        };
        (!is_met).then_some(Refusal { code, message })
    })
}
