//! The memory of members, as the driver keeps account of it. The core holds on to what it is given
//! and knows nothing of it: whatever way a member goes, its memory is free when it is gone.

use std::any::Any;
use std::fmt;
use std::sync::Arc;

/// Memory that is booked for a member until the last copy of this is dropped.
#[derive(Clone, Default)]
pub struct Booking(Option<Arc<dyn Any + Send + Sync>>);

impl Booking {
    /// Something that gives the memory back when it is dropped.
    pub fn of(account: impl Any + Send + Sync) -> Booking {
        Booking(Some(Arc::new(account)))
    }
}

impl fmt::Debug for Booking {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "Booking" } else { "NoBooking" })
    }
}

/// Requests that differ in this only say the same.
impl PartialEq for Booking {
    fn eq(&self, _: &Booking) -> bool {
        true
    }
}
