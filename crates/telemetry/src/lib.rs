//! What the process says about itself. For now the log; metrics and access lines will be added here.
#![forbid(unsafe_code)]

mod escape;
pub mod limit;
pub mod log;

pub use escape::Escaped;
#[doc(hidden)]
pub use tracing;
