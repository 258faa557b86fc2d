//! Compares two configurations key by key and says which changes require a restart. Pure; called at reload.

use std::collections::HashMap;

use crate::file::config::Config;
use crate::spec::{Block, Key, Kind};
use crate::yaml::emit::Value;

/// A changed key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The key's path, such as `performance.worker_threads`. Lists are compared as a whole.
    pub field: String,
    /// Previous value on one line; `null` if the key did not exist. Secrets are redacted.
    pub old: String,
    /// New value, in the same form.
    pub new: String,
    /// Whether the change requires a restart.
    pub restart: bool,
}

impl Change {
    /// Returns the message that rejects a reload because of this key.
    pub fn rejection(&self) -> String {
        let Self { field, old, new, .. } = self;
        format!("runtime reload rejected: {field} changed from {old} to {new}; restart required")
    }
}

/// Returns every key whose effective value differs, in the order of the reference.
pub fn diff(old: &Config, new: &Config) -> Vec<Change> {
    let mut changes = Vec::new();
    compare_block(Config::KEYS, &old.effective_value(), &new.effective_value(), "", false, &mut changes);
    changes
}

fn compare_block(keys: &[Key], old: &Value, new: &Value, path: &str, restart: bool, changes: &mut Vec<Change>) {
    for key in keys {
        let path = if path.is_empty() { key.name.to_owned() } else { format!("{path}.{}", key.name) };
        let (old, new) = (old.get(key.name).unwrap_or(&Value::Null), new.get(key.name).unwrap_or(&Value::Null));
        compare(&(key.kind)(), old, new, &path, restart || key.restart, changes);
    }
}

fn compare<'s>(kind: &Kind, old: &'s Value, new: &'s Value, path: &str, restart: bool, changes: &mut Vec<Change>) {
    if old == new {
        return;
    }
    match (kind, old, new) {
        (Kind::Optional(inner), _, _) => compare(inner, old, new, path, restart, changes),
        (Kind::Block { keys, .. }, Value::Map(_), Value::Map(_)) => {
            compare_block(keys, old, new, path, restart, changes);
        }
        (Kind::Map(inner), Value::Map(before), Value::Map(after)) => {
            let by_name = |entries: &'s [(String, Value)]| {
                entries.iter().map(|(name, value)| (name.as_str(), value)).collect::<HashMap<_, _>>()
            };
            let (old, new) = (by_name(before), by_name(after));
            let added = after.iter().filter(|(name, _)| !old.contains_key(name.as_str()));
            for (name, _) in before.iter().chain(added) {
                let value =
                    |entries: &HashMap<&str, &'s Value>| entries.get(name.as_str()).copied().unwrap_or(&Value::Null);
                compare(inner, value(&old), value(&new), &format!("{path}.{name}"), restart, changes);
            }
        }
        _ => changes.push(Change { field: path.to_owned(), old: old.line(), new: new.line(), restart }),
    }
}

#[cfg(test)]
mod tests;
