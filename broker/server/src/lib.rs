//! The network side of a broker: `net` reads frames and writes replies, `dispatch` finds the
//! handler in `api`, `http` answers probes and metrics, `peer` speaks to other brokers as their
//! client.

pub mod access;
mod answer;
pub mod api;
pub mod authorization;
pub mod authorize;
pub mod broker;
pub mod certificates;
pub mod dispatch;
pub mod guard;
pub mod http;
pub mod lag;
pub mod net;
pub mod peer;
pub mod producer_ids;
pub mod quotas;
pub mod readiness;
pub mod request;
pub mod security;
mod seldom;
mod session;
pub mod suspects;
pub mod txn_outside;

pub use broker::Broker;
pub use request::RequestContext;
