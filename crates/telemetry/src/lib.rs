//! What the process reports about itself: the log, the access log, the record of each request, metrics, and traces.
#![forbid(unsafe_code)]

pub mod access;
mod escape;
mod journal;
mod json;
mod level;
pub mod limit;
pub mod log;
pub mod metrics;
mod open_file;
mod qlog;
mod queue;
mod record;
mod sink;
pub mod trace;

pub use escape::Escaped;
pub use level::LevelHandle;
pub use open_file::Owner;
pub use qlog::{QlogFile, QlogFiles};
pub use record::{ClientProtocol, ConnectionRecord, RequestRecord, RouteRecord, TraceIds};
#[doc(hidden)]
pub use tracing;
