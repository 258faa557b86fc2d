//! What the process asks of the system beside sockets: processor cores, and giving up root. Called by
//! the runtime at start.

pub mod affinity;
pub mod privileges;
