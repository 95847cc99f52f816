//! What the status tells beside the plan.

/// Something that the user has to know of, beside the plan.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Problem {
    /// CamelCase, for the condition.
    pub reason: &'static str,
    pub message: String,
    /// It lasts until a user does something; else it is tried again, and may be over.
    pub lasting: bool,
}

impl Problem {
    /// A volume that does not get the size that the spec asks for.
    pub fn of_volume(message: String) -> Problem {
        Problem { reason: "VolumeCannotGrow", message, lasting: true }
    }
}
