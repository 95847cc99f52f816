//! Admin against scripted brokers.
