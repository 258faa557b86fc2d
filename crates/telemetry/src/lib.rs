//! The log.
#![forbid(unsafe_code)]

mod escape;
pub mod limit;
pub mod log;

pub use escape::Escaped;
#[doc(hidden)]
pub use tracing;
