//! CPU affinity, the limit of file descriptors, dropping of root privileges, and the sandbox. Used by the runtime at start.

pub mod affinity;
pub mod descriptors;
pub mod privileges;
pub mod sandbox;
