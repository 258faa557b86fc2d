//! What the process reports about itself: the log, the record of each request, and metrics.
#![forbid(unsafe_code)]

mod escape;
mod json;
pub mod limit;
pub mod log;
pub mod metrics;
mod record;
mod sink;

pub use escape::Escaped;
pub use record::{ClientProtocol, RequestRecord, TraceIds};
pub use sink::Owner;
#[doc(hidden)]
pub use tracing;
