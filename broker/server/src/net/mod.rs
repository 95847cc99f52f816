//! Sockets: accepting connections, cutting frames, keeping replies in order, writing them without
//! copies. One task per connection does all of it, so that a request costs no task switch.

mod budget;
mod connection;
mod input;
mod listener;
mod output;
mod places;
mod sendfile;
mod started;

pub use budget::Budget;
pub use input::{Input, Lent};
pub use listener::{BoundListener, bind, bind_any, serve};
pub use places::Places;
pub use started::{BeginFuture, Begun, ConnectionInfo, Reply, ReplyFuture, Started};
