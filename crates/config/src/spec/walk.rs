//! Lists all keys with their paths. For tests.

use super::{Block, Key};
use crate::file::config::Config;

/// Returns each key with the path of its mapping. Upstream names are `*`, list items `[]`. `listeners[]` is omitted,
/// because it has the keys of `listen`.
pub(crate) fn keys() -> Vec<(String, &'static Key)> {
    let mut found = Vec::new();
    descend(Config::KEYS, "", &mut found);
    found
}

pub(crate) fn join(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}

fn descend(keys: &'static [Key], path: &str, found: &mut Vec<(String, &'static Key)>) {
    for key in keys.iter().filter(|key| key.name != "listeners") {
        found.push((path.to_owned(), key));
        if let Some((keys, _, step)) = (key.kind)().block() {
            let step = if key.name == "upstream" { ".*" } else { step };
            descend(keys, &format!("{}{step}", join(path, key.name)), found);
        }
    }
}
