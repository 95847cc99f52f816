//! What every change must keep working.

mod accident;
mod install;
mod roll;
mod scale;
mod topic_edits;
mod topics;
