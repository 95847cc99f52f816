//! What every room of the broker uses of its process: clocks, the signal to stop, metrics, the log,
//! and threads for what blocks.

pub mod clock;
pub mod logging;
pub mod metrics;
mod pool;
pub mod shutdown;

pub use pool::BlockingPool;
