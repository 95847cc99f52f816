//! A small asynchronous client: one connection to one broker, requests in, responses out. It knows
//! nothing of clusters, retries or partitions; followers, tools and tests build that on top.
//!
//! ```ignore
//! let connection = Connection::open("localhost:9092", Options::default()).await?;
//! let response = connection.call_newest(&MetadataRequest::default()).await?;
//! ```

mod connection;
mod error;
mod versions;

pub use connection::{Connection, Options};
pub use error::{ClientError, Closed};
pub use versions::BrokerVersions;
