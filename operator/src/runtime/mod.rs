//! What every controller uses of the process: settings, metrics, Events, the signal to stop.

mod events;
mod metrics;
mod settings;
mod stop;

pub use events::{Events, Severity};
pub use metrics::Metrics;
pub use settings::{LogFormat, Settings};
pub use stop::Stop;
