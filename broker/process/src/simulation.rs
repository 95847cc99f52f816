//! What a simulation puts in the place of the operating system, on the thread that it runs on: the
//! time, chance, timers and tasks. `clock`, `time`, `task` and `random` ask it first. Everywhere
//! else there is none, and they cost one look at a thread-local more.

use std::cell::RefCell;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::Waker;

/// A task of a simulated process.
pub type SimulatedTask = Pin<Box<dyn Future<Output = ()> + Send>>;

/// One world of simulated processes.
pub trait Simulation {
    fn now_ms(&self) -> i64;

    fn random(&self) -> u128;

    /// Wakes at this time. Returns what cancels it.
    fn wake_at(&self, at_ms: i64, waker: &Waker) -> u64;

    fn cancel(&self, timer: u64);

    /// The process whose task or event runs.
    fn place(&self) -> usize;

    /// Runs a task as part of a process. Returns what aborts it.
    fn spawn(&self, place: usize, task: SimulatedTask) -> u64;

    fn abort(&self, task: u64);

    /// For how long the thread that runs this task is descheduled here; `None` mostly.
    fn descheduled_ms(&self) -> Option<u64>;
}

thread_local! {
    static CURRENT: RefCell<Option<Rc<dyn Simulation>>> = const { RefCell::new(None) };
}

/// Ends the simulation of this thread when it is dropped.
#[must_use]
pub struct Entered(Option<Rc<dyn Simulation>>);

/// This thread runs the simulation until the value is dropped.
pub fn enter(simulation: Rc<dyn Simulation>) -> Entered {
    Entered(CURRENT.replace(Some(simulation)))
}

impl Drop for Entered {
    fn drop(&mut self) {
        CURRENT.replace(self.0.take());
    }
}

/// The simulation that this thread runs.
pub(crate) fn current() -> Option<Rc<dyn Simulation>> {
    // A thread that ends has none any more.
    CURRENT.try_with(|current| current.borrow().clone()).ok().flatten()
}
