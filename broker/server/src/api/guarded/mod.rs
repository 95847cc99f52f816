//! Refusals of requests as a whole, as Kafka's `getErrorResponse` makes them.

mod cluster;
mod groups;
mod transactions;
