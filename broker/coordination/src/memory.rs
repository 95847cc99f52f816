//! What the members of all groups here may take of memory. Anybody may found groups and join them
//! with any metadata, and a member stays for as long as its session does.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use coordinator::Booking;

pub(super) struct MemberMemory {
    used: Arc<AtomicUsize>,
    bytes_max: usize,
}

/// Bytes of one member.
struct Booked {
    used: Arc<AtomicUsize>,
    bytes: usize,
}

impl Drop for Booked {
    fn drop(&mut self) {
        self.used.fetch_sub(self.bytes, Ordering::AcqRel);
    }
}

impl MemberMemory {
    pub(super) fn new(bytes_max: usize) -> MemberMemory {
        MemberMemory { used: Arc::default(), bytes_max }
    }

    pub(super) fn book(&self, bytes: usize) -> Option<Booking> {
        let before = self.used.fetch_add(bytes, Ordering::AcqRel);
        let booked = Booked { used: self.used.clone(), bytes };
        (before.saturating_add(bytes) <= self.bytes_max).then(|| Booking::of(booked))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_have_so_much_and_give_it_back() {
        let memory = MemberMemory::new(100);
        let first = memory.book(60);
        assert!(first.is_some());
        assert!(memory.book(60).is_none());
        let second = memory.book(40);
        assert!(second.is_some() && memory.book(1).is_none());
        let copy = first.clone();
        drop(first);
        assert!(memory.book(1).is_none(), "its member was renamed");
        drop(copy);
        assert!(memory.book(60).is_some());
    }
}
