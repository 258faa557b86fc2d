//! Writes the log to standard error.
//!
//! Lines pass a bounded queue to a writer thread, so that workers do not block on a terminal or a pipe. The runtime starts
//! it once; other code logs through `tracing`.

use spooky_config::{LogFilter, LogLevel};
use tracing::Metadata;
use tracing_appender::non_blocking::{NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::{
    Registry,
    filter::{FilterFn, LevelFilter},
    fmt,
    layer::SubscriberExt,
    reload,
    util::SubscriberInitExt,
};

/// Capacity of the queue. Lines that do not fit are dropped.
const MAX_WAITING_LINES: usize = 8192;

/// Environment variable that overrides `log.level`.
const VARIABLE: &str = "RUST_LOG";

type Filter = FilterFn<Box<dyn Fn(&Metadata<'_>) -> bool + Send + Sync>>;

/// The log of the process. Dropping it writes the queued lines.
pub struct Log {
    filter: reload::Handle<Filter, Registry>,
    _writer: WorkerGuard,
}

impl Log {
    /// Changes `log.level`. Levels from `RUST_LOG` keep precedence.
    pub fn set_level(&self, level: LogLevel) {
        // Fails only if another log was started first; its level does not change.
        let _ = self.filter.reload(filter_of(Levels::from_environment(level)));
    }
}

/// Starts the log at `level`, or at the levels of `RUST_LOG`. Has no effect if a log was already started.
#[must_use = "the log ends when it is dropped"]
pub fn start(level: LogLevel) -> Log {
    let builder = NonBlockingBuilder::default().lossy(true).buffered_lines_limit(MAX_WAITING_LINES);
    let (writer, guard) = builder.finish(std::io::stderr());
    let lines = fmt::layer().with_writer(writer).with_ansi(false);
    let levels = Levels::from_environment(level);
    let invalid = levels.invalid.clone();
    let (enabled, filter) = reload::Layer::new(filter_of(levels));
    let _already_started = tracing_subscriber::registry().with(enabled).with(lines).try_init();
    std::panic::set_hook(Box::new(|panic| {
        let payload = panic.payload();
        let text =
            payload.downcast_ref::<&str>().copied().or_else(|| payload.downcast_ref::<String>().map(String::as_str));
        let location = panic.location().map(ToString::to_string).unwrap_or_default();
        tracing::error!("panic captured: {} at {location}", text.unwrap_or("no message"));
    }));
    if let Some(text) = invalid {
        tracing::warn!("{VARIABLE} '{text}' cannot be used; log.level stays in force");
    }
    Log { filter, _writer: guard }
}

fn filter_of(levels: Levels) -> Filter {
    let max_level = levels.max_level();
    let enabled = move |line: &Metadata<'_>| *line.level() <= levels.of(line.target());
    FilterFn::new(Box::new(enabled) as Box<_>).with_max_level_hint(max_level)
}

struct Levels {
    configured: LogLevel,
    named: LogFilter,
    /// The value of the variable, if it is invalid.
    invalid: Option<String>,
}

impl Levels {
    /// Combines the configured level with the value of the environment variable.
    fn new(configured: LogLevel, variable: &str) -> Self {
        let named = LogFilter::parse(variable);
        let invalid = (named.is_none() && !variable.trim().is_empty()).then(|| variable.to_owned());
        Self { configured, named: named.unwrap_or_default(), invalid }
    }

    fn from_environment(configured: LogLevel) -> Self {
        Self::new(configured, &std::env::var_os(VARIABLE).unwrap_or_default().to_string_lossy())
    }

    fn of(&self, target: &str) -> LevelFilter {
        filter(self.named.level(target, self.configured))
    }

    /// Returns the most verbose level.
    fn max_level(&self) -> LevelFilter {
        let bare = self.named.bare().unwrap_or(self.configured);
        let levels = self.named.targets().map(|(_, level)| level).chain([bare]);
        levels.map(filter).max().unwrap_or(LevelFilter::OFF)
    }
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

    #[test]
    fn the_variable_overrides_the_configuration_part_by_part() {
        let level = |variable: &str, target: &str| Levels::new(LogLevel::Warn, variable).of(target);
        for (variable, target, expected) in [
            ("", "spooky_edge::quic", LevelFilter::WARN),
            ("spooky", "spooky_edge::quic", LevelFilter::INFO),
            ("spooky_edge=haunt,info", "spooky_edge::quic", LevelFilter::DEBUG),
            ("spooky_edge=haunt,info", "spooky_lb", LevelFilter::INFO),
            ("spooky_edge=haunt", "spooky_lb", LevelFilter::WARN),
            ("spooky=whisper", "spooky_edge", LevelFilter::WARN),
            ("loud", "spooky", LevelFilter::WARN),
        ] {
            assert_eq!(level(variable, target), expected, "{variable} {target}");
        }
        assert_eq!(Levels::new(LogLevel::Warn, "spooky_edge=whisper,off").max_level(), LevelFilter::TRACE);
        assert_eq!(Levels::new(LogLevel::Warn, "spooky_edge=off").max_level(), LevelFilter::WARN);
        assert_eq!(Levels::new(LogLevel::Warn, " ").invalid, None);
        assert_eq!(Levels::new(LogLevel::Warn, "loud").invalid.as_deref(), Some("loud"));
    }
}
