//! What users do to topics, and what they are told.
