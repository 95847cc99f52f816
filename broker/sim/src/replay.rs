//! The line that runs a failed seed again. A violation ends a run with a report that names the
//! seed; an assertion of a core ends it with a panic, and in the release profile the process with
//! it: a hook is then the last to know which seed each thread is in.

use std::cell::RefCell;
use std::sync::Once;

use crate::plan::Options;

thread_local! {
    static RUNNING: RefCell<Option<Options>> = const { RefCell::new(None) };
}

/// From now on a panic within a run also prints how to repeat that run.
pub fn tell_on_panic() {
    static INSTALLED: Once = Once::new();
    INSTALLED.call_once(|| {
        let report = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            report(panic);
            RUNNING.with_borrow(|running| {
                if let Some(options) = running {
                    eprintln!("replay: {}", options.replay_command());
                }
            });
        }));
    });
}

/// What this thread runs until the value is dropped.
pub(crate) struct Running;

impl Running {
    pub(crate) fn new(options: &Options) -> Running {
        RUNNING.set(Some(options.clone()));
        Running
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        RUNNING.take();
    }
}
