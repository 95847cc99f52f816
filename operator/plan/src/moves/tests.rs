//! Examples of each planner of moves, and properties of all.
