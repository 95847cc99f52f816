//! What every change must keep working.

mod install;
