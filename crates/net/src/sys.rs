//! What the process asks of the system beside sockets: processor cores and file descriptors. Called by the runtime at
//! start.

pub mod affinity;
pub mod rlimit;
