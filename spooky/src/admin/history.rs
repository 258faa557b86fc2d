//! The last changes of the configuration, refused ones included.

use crate::{clock::unix_ms, reload_counts::ReloadResult};
use spooky_control::{ConfigChange, History};
use std::collections::VecDeque;

/// Number of changes that are kept.
const KEPT: usize = 32;

/// Who asked for a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cause {
    Start,
    Signal,
    Api,
    FileWatch,
}

impl Cause {
    fn as_str(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Signal => "signal",
            Self::Api => "api",
            Self::FileWatch => "file_watch",
        }
    }
}

/// What was changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ReloadKind {
    Config,
    Certificates,
    Rollback,
}

impl ReloadKind {
    fn as_str(self) -> &'static str {
        match self {
            Self::Config => "config",
            Self::Certificates => "certificates",
            Self::Rollback => "rollback",
        }
    }
}

/// A change.
pub(crate) struct ReloadRecord {
    pub(crate) kind: ReloadKind,
    pub(crate) cause: Cause,
    pub(crate) result: ReloadResult,
    /// The number of the configuration in effect afterwards.
    pub(crate) generation: u64,
    /// The keys that differ.
    pub(crate) changed: Vec<String>,
    /// The first error.
    pub(crate) error: Option<String>,
}

#[derive(Default)]
pub(super) struct Records(VecDeque<ConfigChange>);

impl Records {
    pub(super) fn add(&mut self, record: ReloadRecord) {
        let ReloadRecord { kind, cause, result, generation, changed, error } = record;
        let result = match result {
            ReloadResult::Ok => "ok",
            ReloadResult::Rejected => "rejected",
            ReloadResult::Failed => "failed",
        };
        self.0.truncate(KEPT - 1);
        let (kind, by) = (kind.as_str(), cause.as_str());
        self.0.push_front(ConfigChange { at_ms: unix_ms(), by, changed, error, generation, kind, result });
    }

    pub(super) fn get(&self) -> History {
        History { generations: self.0.iter().cloned().collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_changes_are_kept() {
        let mut records = Records::default();
        for generation in 1..=KEPT as u64 + 3 {
            let (kind, cause, result) = (ReloadKind::Config, Cause::Signal, ReloadResult::Ok);
            records.add(ReloadRecord { kind, cause, result, generation, changed: Vec::new(), error: None });
        }
        let kept: Vec<_> = records.get().generations.iter().map(|entry| entry.generation).collect();
        assert_eq!((kept.len(), kept[0], kept[KEPT - 1]), (KEPT, KEPT as u64 + 3, 4));
    }
}
