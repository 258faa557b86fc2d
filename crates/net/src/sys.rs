//! CPU affinity, the limit of file descriptors, and dropping of root privileges. Used by the runtime at start.

pub mod affinity;
pub mod descriptors;
pub mod privileges;
