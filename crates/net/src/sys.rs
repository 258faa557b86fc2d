//! What the process asks of the system beside sockets: processor cores, file descriptors, and giving up root. Called by
//! the runtime at start.

pub mod affinity;
pub mod privileges;
pub mod rlimit;
