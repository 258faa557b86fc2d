//! Parses `RUST_LOG`. Pure; called at start.

use crate::file::log::LogLevel;

/// Log levels by target, from `RUST_LOG`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LogFilter {
    level: Option<LogLevel>,
    targets: Vec<(String, LogLevel)>,
}

impl LogFilter {
    /// Parses a comma-separated list of `level` and `target=level`, with either set of level names. Returns `None` if it is
    /// invalid.
    pub fn parse(text: &str) -> Option<Self> {
        let mut filter = Self::default();
        for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
            match part.split_once('=') {
                None => filter.level = Some(LogLevel::parse(part)?),
                Some((target, level)) if is_target(target) => {
                    filter.targets.push((target.to_owned(), LogLevel::parse(level)?));
                }
                Some(_) => return None,
            }
        }
        (filter.level.is_some() || !filter.targets.is_empty()).then_some(filter)
    }

    /// Returns the level of the longest matching target, else the bare level, else `configured`.
    pub fn level(&self, target: &str, configured: LogLevel) -> LogLevel {
        let fits = |name: &str| target.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"));
        let named = self.targets.iter().filter(|(name, _)| fits(name)).max_by_key(|(name, _)| name.len());
        named.map(|(_, level)| *level).or(self.level).unwrap_or(configured)
    }

    /// Returns the level that is given without a target.
    pub fn bare(&self) -> Option<LogLevel> {
        self.level
    }

    /// Returns the targets with their levels, in the order written.
    pub fn targets(&self) -> impl Iterator<Item = (&str, LogLevel)> {
        self.targets.iter().map(|(target, level)| (target.as_str(), *level))
    }
}

/// Whether the text can be a crate or module path.
fn is_target(target: &str) -> bool {
    !target.is_empty() && target.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b':'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_vocabularies_and_targets_are_read() {
        let filter = LogFilter::parse("spooky_edge=haunt,info, spooky_edge::quic=WHISPER").unwrap();
        for (target, level) in [
            ("spooky_edge", LogLevel::Debug),
            ("spooky_edge::quic", LogLevel::Trace),
            ("spooky_edge::quic::conn", LogLevel::Trace),
            ("spooky_edgeless", LogLevel::Info),
            ("spooky", LogLevel::Info),
        ] {
            assert_eq!(filter.level(target, LogLevel::Off), level, "{target}");
        }
        assert_eq!(LogFilter::parse("spooky").unwrap().bare(), Some(LogLevel::Info));
        assert_eq!(LogFilter::parse("spooky_lb=off").unwrap().level("spooky", LogLevel::Warn), LogLevel::Warn);
        for text in ["", ",", "loud", "spooky_edge", "a=b=info", "a b=info", "spooky_lb=", "info,loud"] {
            assert_eq!(LogFilter::parse(text), None, "{text}");
        }
    }
}
