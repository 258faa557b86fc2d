//! What changed between two configurations, by key, and whether a running process can take it. Pure; called at reload.

use std::collections::HashMap;

use crate::file::config::Config;
use crate::spec::{Block, Key, Kind};
use crate::yaml::emit::Shown;

/// One key that changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The key's path, such as `performance.worker_threads`. Lists are compared as a whole.
    pub field: String,
    /// The value before, on one line; `null` for what was not there. Secrets are not shown.
    pub old: String,
    /// The value after.
    pub new: String,
    /// Whether it takes a restart.
    pub restart: bool,
}

impl Change {
    /// The line with which a reload is refused for this key.
    pub fn refusal(&self) -> String {
        let Self { field, old, new, .. } = self;
        format!("runtime reload rejected: {field} changed from {old} to {new}; restart required")
    }
}

/// Every key whose effective value differs, in the order of the reference.
pub fn diff(old: &Config, new: &Config) -> Vec<Change> {
    let mut changes = Vec::new();
    compare_block(Config::KEYS, &old.shown(), &new.shown(), "", false, &mut changes);
    changes
}

fn compare_block(keys: &[Key], old: &Shown, new: &Shown, path: &str, restart: bool, changes: &mut Vec<Change>) {
    for key in keys {
        let path = if path.is_empty() { key.name.to_owned() } else { format!("{path}.{}", key.name) };
        let (old, new) = (old.get(key.name).unwrap_or(&Shown::Null), new.get(key.name).unwrap_or(&Shown::Null));
        compare(&(key.kind)(), old, new, &path, restart || key.restart, changes);
    }
}

fn compare<'s>(kind: &Kind, old: &'s Shown, new: &'s Shown, path: &str, restart: bool, changes: &mut Vec<Change>) {
    if old == new {
        return;
    }
    match (kind, old, new) {
        (Kind::Optional(inner), _, _) => compare(inner, old, new, path, restart, changes),
        (Kind::Block { keys, .. }, Shown::Map(_), Shown::Map(_)) => {
            compare_block(keys, old, new, path, restart, changes);
        }
        (Kind::Map(inner), Shown::Map(before), Shown::Map(after)) => {
            let by_name = |entries: &'s [(String, Shown)]| {
                entries.iter().map(|(name, value)| (name.as_str(), value)).collect::<HashMap<_, _>>()
            };
            let (old, new) = (by_name(before), by_name(after));
            let added = after.iter().filter(|(name, _)| !old.contains_key(name.as_str()));
            for (name, _) in before.iter().chain(added) {
                let value =
                    |entries: &HashMap<&str, &'s Shown>| entries.get(name.as_str()).copied().unwrap_or(&Shown::Null);
                compare(inner, value(&old), value(&new), &format!("{path}.{name}"), restart, changes);
            }
        }
        _ => changes.push(Change { field: path.to_owned(), old: old.line(), new: new.line(), restart }),
    }
}

#[cfg(test)]
mod tests;
