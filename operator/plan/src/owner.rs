//! Who looks after a cluster. Two operators that both did would undo each other's work for ever, so
//! a cluster has one, which is written on it, and a class says which operators may take it.

/// What a cluster is to an operator.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Standing {
    Ours,
    /// Nobody has it, and this operator may.
    Free,
    /// Of its class, but another operator has it.
    Others(String),
    /// Of another class. `held`: it was ours before.
    OtherClass {
        held: bool,
    },
}

/// An operator, by what it goes by and the class that it has; the empty class is a class, too.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Me<'a> {
    pub name: &'a str,
    pub class: &'a str,
}

/// What a cluster of that owner and class is to an operator.
pub fn standing(owner: Option<&str>, class: Option<&str>, me: Me<'_>) -> Standing {
    let owner = owner.filter(|owner| !owner.is_empty());
    if class.unwrap_or_default() != me.class {
        return Standing::OtherClass { held: owner == Some(me.name) };
    }
    match owner {
        None => Standing::Free,
        Some(owner) if owner == me.name => Standing::Ours,
        Some(owner) => Standing::Others(owner.to_owned()),
    }
}
