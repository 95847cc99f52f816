//! What takes too long for every change.

mod autoscaler;
mod bad_spec;
mod crowd;
mod first_use;
mod load_balancer;
mod many_clusters;
mod many_topics;
mod namespace;
mod node;
mod operator_killed;
mod outside;
mod rbac;
mod shrink;
mod two_operators;
mod upgrade;
mod volumes;
mod voters;
