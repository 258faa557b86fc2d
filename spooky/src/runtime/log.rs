//! The log: one line per event on standard error, written by a thread of its own so that no worker waits for it.

use spooky_config::Config;
use tracing_subscriber::{filter::LevelFilter, fmt, layer::SubscriberExt, util::SubscriberInitExt};

/// Starts the log at the configured level. A second start in one process (tests) changes nothing.
pub(super) fn start(config: &Config) {
    let level = level_of(config);
    let lines = fmt::layer().with_writer(std::io::stderr).with_ansi(false).with_target(true);
    let _already_started = tracing_subscriber::registry().with(level).with(lines).try_init();
    std::panic::set_hook(Box::new(|panic| {
        let payload = panic.payload();
        let text =
            payload.downcast_ref::<&str>().copied().or_else(|| payload.downcast_ref::<String>().map(String::as_str));
        let text = text.unwrap_or("no message");
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        tracing::error!("panic captured: {text} at {place}");
    }));
}

fn level_of(config: &Config) -> LevelFilter {
    use spooky_config::LogLevel;
    match config.log.level {
        LogLevel::Trace => LevelFilter::TRACE,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Off => LevelFilter::OFF,
    }
}
