//! What unit tests of invariants share.

use std::panic::{AssertUnwindSafe, catch_unwind};

/// What the closure panics with; its text alone shows that a fault was seen.
pub(crate) fn panic_of(validate: impl FnOnce()) -> String {
    let panic = catch_unwind(AssertUnwindSafe(validate)).expect_err("the fault is seen");
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default()
}
