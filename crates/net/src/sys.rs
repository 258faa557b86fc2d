//! CPU affinity and dropping of root privileges. Used by the runtime at start.

pub mod affinity;
pub mod privileges;
