//! What the broker's tasks run on here: one thread, the world's clock, and a queue of what was
//! woken. The world polls the tasks that an event woke after it, now and then late, as on a
//! busy machine; those of a paused process wait, those of a dead one are dropped.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Wake, Waker};

use parking_lot::Mutex;
use process::simulation::{SimulatedTask, Simulation};

use crate::rng::Rng;

/// Sets this stream of chance apart from the world's.
const STREAM: u64 = 0x7A5C_0DE5;
/// How often a thread is descheduled in the middle of a long piece of work, and for how long.
const DESCHEDULED_PER_MILLE: i64 = 20;
const DESCHEDULED_MS_MAX: [i64; 2] = [50, 1_500];

struct Task {
    place: usize,
    /// `None` while it is polled.
    future: Option<SimulatedTask>,
    handle: Arc<Handle>,
}

struct Handle {
    id: u64,
    is_woken: AtomicBool,
    woken: Arc<Mutex<Vec<u64>>>,
}

impl Wake for Handle {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if !self.is_woken.swap(true, Ordering::Relaxed) {
            self.woken.lock().push(self.id);
        }
    }
}

pub(crate) struct Runtime {
    now_ms: Cell<i64>,
    place: Cell<usize>,
    rng: RefCell<Rng>,
    ids: Cell<u64>,
    tasks: RefCell<BTreeMap<u64, Task>>,
    timers: RefCell<BTreeMap<(i64, u64), Waker>>,
    timer_times: RefCell<BTreeMap<u64, i64>>,
    woken: Arc<Mutex<Vec<u64>>>,
    /// Nothing is late any more.
    is_calm: Cell<bool>,
}

impl Runtime {
    pub(crate) fn new(seed: u64) -> Runtime {
        Runtime {
            now_ms: Cell::new(0),
            place: Cell::new(0),
            rng: RefCell::new(Rng::new(seed ^ STREAM)),
            ids: Cell::new(0),
            tasks: RefCell::default(),
            timers: RefCell::default(),
            timer_times: RefCell::default(),
            woken: Arc::default(),
            is_calm: Cell::new(false),
        }
    }

    /// From now on every thread runs as it should.
    pub(crate) fn calm(&self) {
        self.is_calm.set(true);
    }

    fn next_id(&self) -> u64 {
        self.ids.set(self.ids.get() + 1);
        self.ids.get()
    }

    pub(crate) fn set_now(&self, now_ms: i64) {
        self.now_ms.set(now_ms);
    }

    /// What runs from now on belongs to this process.
    pub(crate) fn enter(&self, place: usize) {
        self.place.set(place);
    }

    pub(crate) fn place_of(&self, task: u64) -> Option<usize> {
        self.tasks.borrow().get(&task).map(|task| task.place)
    }

    /// Tasks that were woken since the last call, the oldest first: tokio's channels wake those who
    /// wait in an order of chance.
    pub(crate) fn take_woken(&self) -> Vec<u64> {
        let mut woken = std::mem::take(&mut *self.woken.lock());
        woken.sort_unstable();
        woken
    }

    pub(crate) fn poll(&self, id: u64) {
        let (mut future, handle) = {
            let mut tasks = self.tasks.borrow_mut();
            let Some(task) = tasks.get_mut(&id) else { return };
            let Some(future) = task.future.take() else { return };
            self.place.set(task.place);
            (future, task.handle.clone())
        };
        handle.is_woken.store(false, Ordering::Relaxed);
        let waker = Waker::from(handle);
        let is_over = future.as_mut().poll(&mut Context::from_waker(&waker)).is_ready();
        let mut tasks = self.tasks.borrow_mut();
        // It may have been aborted by what it did.
        if is_over {
            tasks.remove(&id);
        } else if let Some(task) = tasks.get_mut(&id) {
            task.future = Some(future);
            return;
        }
        drop(tasks);
        drop(future);
    }

    /// The process is gone, and its tasks with it.
    pub(crate) fn kill(&self, place: usize) {
        let dead: Vec<Task> = self
            .tasks
            .borrow_mut()
            .extract_if(.., |_, task| task.place == place)
            .map(|t| t.1)
            .collect();
        drop(dead);
    }

    pub(crate) fn next_timer(&self) -> Option<i64> {
        self.timers.borrow().first_key_value().map(|(&(at_ms, _), _)| at_ms)
    }

    /// Wakes whose time has come.
    pub(crate) fn fire_timers(&self) {
        let later = self.timers.borrow_mut().split_off(&(self.now_ms.get() + 1, 0));
        let due = self.timers.replace(later);
        for ((_, id), waker) in due {
            self.timer_times.borrow_mut().remove(&id);
            waker.wake();
        }
    }
}

impl Simulation for Runtime {
    fn now_ms(&self) -> i64 {
        self.now_ms.get()
    }

    fn random(&self) -> u128 {
        let mut rng = self.rng.borrow_mut();
        u128::from(rng.next()) << 64 | u128::from(rng.next())
    }

    fn wake_at(&self, at_ms: i64, waker: &Waker) -> u64 {
        let id = self.next_id();
        self.timers.borrow_mut().insert((at_ms, id), waker.clone());
        self.timer_times.borrow_mut().insert(id, at_ms);
        id
    }

    fn cancel(&self, timer: u64) {
        if let Some(at_ms) = self.timer_times.borrow_mut().remove(&timer) {
            self.timers.borrow_mut().remove(&(at_ms, timer));
        }
    }

    fn place(&self) -> usize {
        self.place.get()
    }

    fn spawn(&self, place: usize, task: SimulatedTask) -> u64 {
        let id = self.next_id();
        let woken = self.woken.clone();
        let handle = Arc::new(Handle { id, is_woken: AtomicBool::new(false), woken });
        handle.wake_by_ref();
        self.tasks.borrow_mut().insert(id, Task { place, future: Some(task), handle });
        id
    }

    fn abort(&self, task: u64) {
        let aborted = self.tasks.borrow_mut().remove(&task);
        drop(aborted);
    }

    fn descheduled_ms(&self) -> Option<u64> {
        let mut rng = self.rng.borrow_mut();
        let is_long = !self.is_calm.get() && rng.chance(DESCHEDULED_PER_MILLE);
        is_long.then(|| {
            let longest_ms = *rng.pick(&DESCHEDULED_MS_MAX);
            rng.between(1, longest_ms).unsigned_abs()
        })
    }
}
