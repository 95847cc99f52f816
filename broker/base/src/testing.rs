//! What unit tests of invariants share.
#![allow(clippy::expect_used, reason = "for tests")]

use std::panic::{AssertUnwindSafe, catch_unwind};

/// What the closure panics with; its text alone shows that a fault was seen. Panics where it does
/// not.
pub fn panic_of(validate: impl FnOnce()) -> String {
    let panic = catch_unwind(AssertUnwindSafe(validate)).expect_err("the fault is seen");
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default()
}

/// What `validate` says of something sound in which something is then broken.
pub fn said_of<T>(mut sound: T, validate: impl Fn(&T), fault: impl FnOnce(&mut T)) -> String {
    validate(&sound);
    fault(&mut sound);
    panic_of(|| validate(&sound))
}
