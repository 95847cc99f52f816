//! Topic configs.
