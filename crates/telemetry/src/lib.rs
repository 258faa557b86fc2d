//! What the process says about itself. For now the log; metrics and access lines will share its rooms.
#![forbid(unsafe_code)]

pub mod log;
