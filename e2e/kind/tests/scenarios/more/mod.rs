//! What takes too long for every change.

mod api_server;
mod autoscaler;
mod bad_spec;
mod claims;
mod control;
mod crashes;
mod crowd;
mod disks;
mod first_use;
mod fleet;
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
mod webhook;
mod zones;
