//! Administrative requests over Kafka's protocol.
