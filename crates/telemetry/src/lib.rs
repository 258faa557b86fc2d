//! What the process reports about itself: the log, and the record of each request.
#![forbid(unsafe_code)]

mod escape;
mod json;
pub mod limit;
pub mod log;
mod record;
mod sink;

pub use escape::Escaped;
pub use record::{ClientProtocol, RequestRecord, TraceIds};
pub use sink::Owner;
#[doc(hidden)]
pub use tracing;
