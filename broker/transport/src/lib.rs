//! The bytes under a connection, plain or encrypted, of both ends: accepted connections, links to
//! other brokers, clients and the quorum. Whoever reads and writes sees one [`Stream`]; a plain one
//! shows its socket, so that the kernel can send file ranges by itself.
//!
//! Certificates, keys and authorities come from PEM files or texts, and are read again when the
//! files change: new connections use the new ones, old connections stay.

mod acceptor;
mod connector;
mod material;
mod name;
mod reload;
mod socket;
mod stream;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
#[cfg(test)]
mod tests;

pub use acceptor::{Acceptor, HandshakeError, Patience};
pub use connector::Connector;
pub use material::TlsError;
pub use name::NameError;
pub use reload::Outcome;
pub use socket::Socket;
pub use stream::{ReadHalf, Stream, WriteHalf};

/// What may be encrypted ahead of a socket that takes nothing.
pub const UNSENT_BYTES_MAX: usize = 64 * 1024;
