//! The log: one line per event on standard error.
//!
//! Lines go through a bounded queue to a thread that writes them, so that no worker ever waits for a terminal or a pipe.
//! Called once by the runtime at start; everything else logs through `tracing`.

use spooky_config::LogLevel;
use tracing_appender::non_blocking::NonBlockingBuilder;
pub use tracing_appender::non_blocking::WorkerGuard as Guard;
use tracing_subscriber::{filter::LevelFilter, fmt, layer::SubscriberExt, util::SubscriberInitExt};

/// Lines that may wait for the writer; further ones are dropped.
const MAX_WAITING_LINES: usize = 8192;

/// Starts the log. Dropping the guard writes what still waits. A second start in one process changes nothing.
#[must_use = "the log ends with its guard"]
pub fn start(level: LogLevel) -> Guard {
    let builder = NonBlockingBuilder::default().lossy(true).buffered_lines_limit(MAX_WAITING_LINES);
    let (writer, guard) = builder.finish(std::io::stderr());
    let lines = fmt::layer().with_writer(writer).with_ansi(false);
    let _already_started = tracing_subscriber::registry().with(filter(level)).with(lines).try_init();
    std::panic::set_hook(Box::new(|panic| {
        let payload = panic.payload();
        let text =
            payload.downcast_ref::<&str>().copied().or_else(|| payload.downcast_ref::<String>().map(String::as_str));
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        tracing::error!("panic captured: {} at {place}", text.unwrap_or("no message"));
    }));
    guard
}

fn filter(level: LogLevel) -> LevelFilter {
    match level {
        LogLevel::Trace => LevelFilter::TRACE,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Off => LevelFilter::OFF,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_level_lets_through_what_is_at_least_as_grave() {
        assert!(filter(LogLevel::Info) >= LevelFilter::WARN);
        assert!(filter(LogLevel::Error) < LevelFilter::WARN);
        assert_eq!(filter(LogLevel::Off), LevelFilter::OFF);
    }
}
