//! What every room of the broker uses of its process: clocks, waiting, tasks, chance, the signal to
//! stop, metrics, the log, and threads for what blocks. A simulation may take the place of the
//! first four (`simulation`).

pub mod clock;
pub mod logging;
pub mod metrics;
mod pool;
pub mod random;
pub mod shutdown;
pub mod simulation;
pub mod task;
pub mod time;

pub use pool::BlockingPool;
