//! Writes the log to standard error or a file, as text or JSON.
//!
//! Lines pass a bounded queue to a writer thread, so that workers do not block on a terminal, a pipe or a disk. The runtime
//! starts it once; other code logs through `tracing`.

use crate::{
    json::JsonLines,
    metrics::SharedCounter,
    sink::{self, Owner, Sink, Successor},
};
use spooky_config::{LogFilter, LogFormat, LogLevel};
use std::{
    io,
    path::{Path, PathBuf},
};
use tracing::Metadata;
use tracing_appender::non_blocking::{NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::{
    Layer as _, Registry,
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

/// Panics since the start of the log.
static PANICS: SharedCounter = SharedCounter::new();

/// Returns the number of panics since the log was started, wherever they were contained.
pub fn panics() -> u64 {
    PANICS.get()
}

type Filter = FilterFn<Box<dyn Fn(&Metadata<'_>) -> bool + Send + Sync>>;

/// The log of the process. Dropping it writes the queued lines.
pub struct Log {
    filter: reload::Handle<Filter, Registry>,
    file: Option<LogFile>,
    _writer: WorkerGuard,
}

struct LogFile {
    path: PathBuf,
    successor: Successor,
}

impl Log {
    /// Changes `log.level`. Levels from `RUST_LOG` keep precedence.
    pub fn set_level(&self, level: LogLevel) {
        // Fails only if another log was started first; its level does not change.
        let _ = self.filter.reload(filter_of(Levels::from_environment(level)));
    }

    /// Opens the log file again, after it was renamed or removed. If that fails, the open file stays in use. Does nothing if
    /// the log goes to standard error; `is_asked_for` says whether to report that.
    pub fn reopen(&self, is_asked_for: bool) {
        let Some(LogFile { path, successor }) = &self.file else {
            if is_asked_for {
                tracing::info!("There is no log file to reopen; the log goes to standard error");
            }
            return;
        };
        match sink::open(path, None) {
            Ok(file) => {
                successor.set(file);
                tracing::info!("Log file reopened: {}", path.display());
            }
            Err(error) => {
                tracing::warn!("Log file {} cannot be reopened, the open one stays in use: {error}", path.display());
            }
        }
    }
}

/// Starts the log as configured; `RUST_LOG` overrides the level. `owner` will own a log file, for a process that drops root.
/// Has no effect if a log was already started.
#[must_use = "the log ends when it is dropped"]
pub fn start(config: &spooky_config::Log, owner: Option<Owner>) -> Log {
    let builder = NonBlockingBuilder::default().lossy(true).buffered_lines_limit(MAX_WAITING_LINES);
    let opened = config.file.enabled.then(|| open(&config.file.path, owner));
    let (sink, file, failure) = match opened {
        None => (Sink::StandardError, None, None),
        Some(Ok((sink, file))) => (sink, Some(file), None),
        Some(Err(error)) => (Sink::StandardError, None, Some(error)),
    };
    let (writer, guard) = builder.finish(sink);
    let lines = fmt::layer().with_writer(writer).with_ansi(false);
    let lines = match config.format {
        LogFormat::Plain => lines.boxed(),
        LogFormat::Json => lines.event_format(JsonLines).boxed(),
    };
    let levels = Levels::from_environment(config.level);
    let invalid = levels.invalid.clone();
    let (enabled, filter) = reload::Layer::new(filter_of(levels));
    let _already_started = tracing_subscriber::registry().with(enabled).with(lines).try_init();
    std::panic::set_hook(Box::new(|panic| {
        PANICS.increment();
        let payload = panic.payload();
        let text =
            payload.downcast_ref::<&str>().copied().or_else(|| payload.downcast_ref::<String>().map(String::as_str));
        let location = panic.location().map(ToString::to_string).unwrap_or_default();
        tracing::error!("panic captured: {} at {location}", text.unwrap_or("no message"));
    }));
    if let Some(text) = invalid {
        tracing::warn!("{VARIABLE} '{text}' cannot be used; log.level stays in force");
    }
    if let Some(error) = failure {
        let path = config.file.path.display();
        tracing::warn!("Log file {path} cannot be opened, the log goes to standard error: {error}");
    }
    Log { filter, file, _writer: guard }
}

fn open(path: &Path, owner: Option<Owner>) -> io::Result<(Sink, LogFile)> {
    let (file, successor) = (sink::open(path, owner)?, Successor::default());
    Ok((Sink::File { file, successor: successor.clone() }, LogFile { path: path.to_owned(), successor }))
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
    fn panics_are_counted() {
        let _log = start(&spooky_config::Log::default(), None);
        let before = panics();
        assert!(std::thread::spawn(|| panic!("a fault for this test")).join().is_err());
        assert_eq!(panics(), before + 1);
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
