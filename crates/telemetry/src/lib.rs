//! The log.
#![forbid(unsafe_code)]

mod escape;
mod json;
pub mod limit;
pub mod log;
mod sink;

pub use escape::Escaped;
pub use sink::Owner;
#[doc(hidden)]
pub use tracing;
