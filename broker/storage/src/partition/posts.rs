//! What others tell a replica without waiting for its lock, which may be held for as long as a disk
//! takes. A post is acted upon before anything that takes the lock after it; if the lock is held,
//! by its holder. So who posts, the threads of the control plane above all, waits for no disk.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering, fence};

use base::BrokerId;
use commitlog::LogConfig;
use parking_lot::{Mutex, MutexGuard};
use replica::{Event, Settings};

use super::hosted::Partition;
use super::state::State;
use super::waits::Wakes;

/// What is told.
#[derive(Debug)]
pub(super) enum Post {
    Event(Event),
    /// It was this late.
    Tick(i64),
    /// The topic's configs changed.
    Settings(Arc<LogConfig>, Settings),
    /// A broker may, or may not any more, join an ISR.
    Eligibility {
        broker: BrokerId,
        eligible: bool,
    },
    /// Deleted or moved away.
    Removed,
}

/// The posts that nobody acted upon yet, in their order. As many as there are images and answers of
/// the controller while one disk operation lasts.
#[derive(Debug, Default)]
pub(super) struct Posts {
    waiting: Mutex<Vec<Post>>,
    is_any: AtomicBool,
}

impl Posts {
    fn push(&self, post: Post) {
        let mut waiting = self.waiting.lock();
        waiting.push(post);
        self.is_any.store(true, Ordering::Relaxed);
    }

    fn take(&self) -> Vec<Post> {
        let mut waiting = self.waiting.lock();
        self.is_any.store(false, Ordering::Relaxed);
        std::mem::take(&mut *waiting)
    }

    /// For a holder of the partition's lock: what was posted before it took it is seen.
    pub(super) fn is_any(&self) -> bool {
        self.is_any.load(Ordering::Relaxed)
    }

    /// For who has just released the lock. Either this sees a post, or who posted sees the lock
    /// free: both look after a fence that comes after their own write.
    pub(super) fn is_left(&self) -> bool {
        fence(Ordering::SeqCst);
        self.is_any()
    }
}

impl Partition {
    /// Tells the replica. Does not wait for its lock.
    pub(super) fn post(self: &Arc<Self>, post: Post) {
        self.posts.push(post);
        self.take_left_posts();
    }

    /// To be called whenever the lock was released.
    pub(super) fn take_left_posts(self: &Arc<Self>) {
        while self.posts.is_left() {
            let Some(mut state) = self.state.try_lock() else { return };
            let mut wakes = Wakes::default();
            self.take_posts(&mut state, &mut wakes);
            drop(state);
            wakes.give_out();
        }
    }

    /// Acts upon what was posted, under the lock.
    pub(super) fn take_posts(self: &Arc<Self>, state: &mut State, wakes: &mut Wakes) {
        for post in self.posts.take() {
            state.take_post(post);
            self.settle(state, wakes);
        }
    }

    pub(super) fn with_locked<T>(
        self: &Arc<Self>,
        mut state: MutexGuard<'_, State>,
        work: impl FnOnce(&mut State) -> T,
    ) -> T {
        let mut wakes = Wakes::default();
        if self.posts.is_any() {
            self.take_posts(&mut state, &mut wakes);
        }
        let result = work(&mut state);
        self.settle(&mut state, &mut wakes);
        drop(state);
        wakes.give_out();
        self.take_left_posts();
        result
    }
}

impl State {
    fn take_post(&mut self, post: Post) {
        if self.is_removed {
            return;
        }
        match post {
            Post::Event(event) => self.on(event),
            Post::Tick(now_ms) => self.on_at(now_ms, Event::Tick),
            Post::Settings(log, replica) => {
                self.mutate_log(|own| own.update_config(log));
                self.on(Event::Settings(replica));
            }
            Post::Eligibility { broker, eligible } => {
                if self.core().is_leader() && self.core().replicas().contains(&broker) {
                    self.on(Event::Eligibility { broker, eligible });
                    if eligible {
                        // It may have caught up while it was fenced, and on an idle partition
                        // nothing else would let it into the ISR soon.
                        self.on(Event::Tick);
                    }
                }
            }
            Post::Removed => {
                self.on(Event::Removed);
                self.is_removed = true;
            }
        }
    }
}
