//! What happens in the world, by subject. Nobody names anybody here: each is a part of `World`.

mod clients;
mod consumer;
mod disk_fault;
mod fault;
mod lifecycle;
mod link;
mod member;
mod network;
mod node;
mod producer;
mod quorum;
mod reassign;
mod replicas;
mod serve;
