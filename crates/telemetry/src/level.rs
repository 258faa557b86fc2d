//! Which lines the log lets through: `log.level`, `RUST_LOG`, and what the control API sets until the next reload.

use crate::access::{AccessOutput, Wanted};
use spooky_config::{LogFilter, LogLevel};
use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use tracing::Metadata;
use tracing_subscriber::{
    Registry,
    filter::{FilterFn, LevelFilter},
    reload,
};

/// Environment variable that overrides `log.level`.
pub(crate) const VARIABLE: &str = "RUST_LOG";

pub(crate) type Filter = FilterFn<Box<dyn Fn(&Metadata<'_>) -> bool + Send + Sync>>;

/// Changes and reads the level of the log.
#[derive(Clone)]
pub struct LevelHandle {
    filter: reload::Handle<Filter, Registry>,
    output: Arc<AccessOutput>,
    state: Arc<Mutex<InEffect>>,
}

struct InEffect {
    levels: Levels,
    /// `log.access.enabled` and `log.connections`.
    configured: Wanted,
}

impl LevelHandle {
    pub(crate) fn new(
        filter: reload::Handle<Filter, Registry>,
        output: Arc<AccessOutput>,
        config: &spooky_config::Log,
    ) -> Self {
        let state = InEffect { levels: Levels::from_environment(config.level), configured: configured(config) };
        let handle = Self { filter, output, state: Arc::new(Mutex::new(state)) };
        handle.configure(config);
        handle
    }

    /// Applies the configuration. Levels from `RUST_LOG` keep precedence.
    pub(crate) fn configure(&self, config: &spooky_config::Log) {
        let mut state = self.lock();
        state.configured = configured(config);
        self.apply(&mut state, Levels::from_environment(config.level));
    }

    /// Returns the levels in effect, in the form of `RUST_LOG`.
    pub fn get(&self) -> String {
        self.lock().levels.to_string()
    }

    /// Sets levels in the form of `RUST_LOG`, until the next reload. `log.level` holds for what they do not name. Returns
    /// false, changing nothing, if the text is invalid.
    pub fn set(&self, text: &str) -> bool {
        let mut state = self.lock();
        let levels = Levels::new(state.levels.configured, text);
        let is_valid = levels.invalid.is_none() && !text.trim().is_empty();
        if is_valid {
            self.apply(&mut state, levels);
        }
        is_valid
    }

    fn apply(&self, state: &mut InEffect, levels: Levels) {
        state.levels.clone_from(&levels);
        self.output.want(wanted(state.configured, &levels));
        // Fails only if another log was started first; its level does not change.
        let _ = self.filter.reload(filter_of(levels));
    }

    fn lock(&self) -> MutexGuard<'_, InEffect> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn configured(config: &spooky_config::Log) -> Wanted {
    Wanted { requests: config.access.enabled, connections: config.connections }
}

fn wanted(configured: Wanted, levels: &Levels) -> Wanted {
    let is_at_info = |target: &str| levels.of(target) >= LevelFilter::INFO;
    Wanted {
        requests: configured.requests && is_at_info("access"),
        connections: configured.connections && is_at_info("connection"),
    }
}

pub(crate) fn filter_of(levels: Levels) -> Filter {
    let max_level = levels.max_level();
    let enabled = move |line: &Metadata<'_>| *line.level() <= levels.of(line.target());
    FilterFn::new(Box::new(enabled) as Box<_>).with_max_level_hint(max_level)
}

#[derive(Clone)]
pub(crate) struct Levels {
    configured: LogLevel,
    named: LogFilter,
    /// The value of the variable, if it is invalid.
    pub(crate) invalid: Option<String>,
}

impl fmt::Display for Levels {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}", self.named.bare().unwrap_or(self.configured))?;
        self.named.targets().try_for_each(|(target, level)| write!(out, ",{target}={level}"))
    }
}

impl Levels {
    /// Combines the configured level with the value of the environment variable.
    fn new(configured: LogLevel, variable: &str) -> Self {
        let named = LogFilter::parse(variable);
        let invalid = (named.is_none() && !variable.trim().is_empty()).then(|| variable.to_owned());
        Self { configured, named: named.unwrap_or_default(), invalid }
    }

    pub(crate) fn from_environment(configured: LogLevel) -> Self {
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
    fn levels_are_shown_as_they_can_be_set() {
        for (text, expected) in [
            ("", "scream"),
            ("debug", "haunt"),
            ("spooky_edge=haunt", "scream,spooky_edge=haunt"),
            ("spooky_edge=trace, info", "spooky,spooky_edge=whisper"),
        ] {
            let shown = Levels::new(LogLevel::Warn, text).to_string();
            assert_eq!(shown, expected, "{text}");
            assert_eq!(Levels::new(LogLevel::Off, &shown).to_string(), expected);
        }
    }

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

    #[test]
    fn the_level_and_the_variable_silence_the_access_log() {
        let configured = Wanted { requests: true, connections: true };
        for (level, variable, requests, connections) in [
            (LogLevel::Info, "", true, true),
            (LogLevel::Warn, "", false, false),
            (LogLevel::Info, "access=off", false, true),
            (LogLevel::Warn, "connection=info", false, true),
        ] {
            let wanted = wanted(configured, &Levels::new(level, variable));
            assert_eq!(wanted, Wanted { requests, connections }, "{level:?} {variable}");
        }
    }
}
