//! One mapping being read. Finds keys, reports unknown, missing and repeated ones, and places checks between keys.

use super::text::{Text, text};
use super::{Key, Reader, Value};
use crate::yaml::{MERGE, Node, Place, Tree};

const UNKNOWN: Text = text("unknown field '<name>'").hint("<advice>");
const MISSING: Text = text("missing field '<name>'");
const DUPLICATE: Text = text("duplicate field '<name>'");

/// The texts that any mapping can be answered with.
pub(crate) const TEXTS: [Text; 3] = [UNKNOWN, MISSING, DUPLICATE];

/// How alike two names must be for the one to be offered for the other.
const LIKENESS: f64 = 0.8;
/// Longest name that is compared with those of the keys, bytes. A name of megabytes would be compared with each of them.
const MAX_COMPARED: usize = 64;

/// The mapping at the reader's path.
pub(crate) struct Scope<'s, 'e> {
    pub(crate) reader: &'s mut Reader<'e>,
    pub(crate) node: &'s Node,
}

impl<'s, 'e> Scope<'s, 'e> {
    /// Enters the node if it is a mapping, and reports keys that are unknown or written twice.
    pub(crate) fn enter(reader: &'s mut Reader<'e>, node: &'s Node, key: &Key, keys: &[Key]) -> Option<Self> {
        let Tree::Map(entries) = &node.tree else {
            reader.mismatch(node, key, "mapping");
            return None;
        };
        let mut seen = vec![false; keys.len()];
        for entry in entries {
            let name = entry.name.as_str();
            let known = keys.iter().zip(&mut seen).find(|(known, _)| known.answers_to(name));
            let Some((_, seen)) = known else {
                if name == MERGE {
                    reader.below(name, |reader| reader.duplicate(entry.place, name));
                    continue;
                }
                if !reader.is_full(UNKNOWN) {
                    let advice = advice(name, keys);
                    reader.below(name, |reader| {
                        reader.report(entry.place, UNKNOWN, "", &[("name", name), ("advice", &advice)]);
                    });
                }
                continue;
            };
            if std::mem::replace(seen, true) {
                reader.below(name, |reader| reader.duplicate(entry.place, name));
            }
        }
        Some(Self { reader, node })
    }

    /// Reads the key, or keeps `absent`. A block starts from `absent`.
    pub(crate) fn field<T: Value>(&mut self, key: &Key, absent: T) -> T {
        let Some(entry) = self.node.entries().iter().find(|entry| key.answers_to(&entry.name)) else {
            if key.required {
                self.missing(key.name);
            }
            return absent;
        };
        self.reader.below(key.name, |reader| T::read(reader, &entry.node, key, Some(&absent))).unwrap_or(absent)
    }

    /// Reports that a key must be there.
    pub(crate) fn missing(&mut self, name: &str) {
        let place = self.node.place;
        self.reader.below(name, |reader| reader.report(place, MISSING, "", &[("name", name)]));
    }

    /// Whether the path below this mapping is in the file.
    pub(crate) fn written(&self, path: &str) -> bool {
        self.node.find(path).is_some()
    }

    /// Reports `text` at the first of `keys` unless `holds`, or unless one of the keys is at fault already. The keys
    /// are paths below this mapping.
    pub(crate) fn require(&mut self, holds: bool, keys: &[&str], text: Text, arguments: &[(&str, &str)]) {
        if holds || self.reader.is_full(text) {
            return;
        }
        if let Some(key) = keys.first() {
            self.require_at(self.place(key), keys, text, arguments);
        }
    }

    /// Reports `text` for the first of `keys` at `place`, unless one of the keys is at fault already.
    pub(crate) fn require_at(&mut self, place: Place, keys: &[&str], text: Text, arguments: &[(&str, &str)]) {
        let known = keys.iter().any(|key| self.reader.has_failed(&join(&self.reader.path, key)));
        if let (false, Some(key)) = (known, keys.first()) {
            self.reader.below(key, |reader| reader.report(place, text, "", arguments));
        }
    }

    /// Reports `text` at the mapping itself, unless something in it is wrong already.
    pub(crate) fn require_here(&mut self, text: Text) {
        if !self.reader.any_failed(&self.reader.path) {
            self.reader.report(self.node.place, text, "", &[]);
        }
    }

    /// Whether something at `key` or below it was wrong.
    pub(crate) fn any_failed(&self, key: &str) -> bool {
        self.reader.any_failed(&join(&self.reader.path, key))
    }

    /// The place of what is at `path`, or of the mapping that should hold it.
    pub(crate) fn place(&self, path: &str) -> Place {
        self.node.descend(path).0.place
    }
}

fn join(block: &str, key: &str) -> String {
    if block.is_empty() { key.to_owned() } else { format!("{block}.{key}") }
}

impl Reader<'_> {
    /// Reports a name that stands twice, at the current path.
    pub(crate) fn duplicate(&mut self, place: Place, name: &str) {
        self.report(place, DUPLICATE, "", &[("name", name)]);
    }
}

impl Key {
    /// Whether `name` is this key's name or alias.
    pub(crate) fn answers_to(&self, name: &str) -> bool {
        self.name == name || (!self.alias.is_empty() && self.alias == name)
    }
}

/// `did you mean '<y>'?` when one of the keys is near, else all of them.
fn advice(name: &str, keys: &[Key]) -> String {
    let nearest = (name.len() <= MAX_COMPARED).then(|| name.to_lowercase()).and_then(|name| {
        let known = keys.iter().flat_map(|key| [key.name, key.alias]).filter(|known| !known.is_empty());
        known.map(|known| (strsim::jaro_winkler(&name, known), known)).max_by(|a, b| a.0.total_cmp(&b.0))
    });
    match nearest {
        Some((likeness, known)) if likeness >= LIKENESS => format!("did you mean '{known}'?"),
        _ => format!("allowed keys: {}", keys.iter().map(|key| key.name).collect::<Vec<_>>().join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::file::config::Config;
    use crate::spec::Block;

    #[test]
    fn a_very_long_name_is_compared_with_no_key() {
        assert_eq!(advice("upstreem", Config::KEYS), "did you mean 'upstream'?");
        assert_eq!(advice(&"upstream".repeat(8), Config::KEYS), "did you mean 'upstream'?");
        assert!(advice(&"upstream".repeat(9), Config::KEYS).starts_with("allowed keys: "));
    }
}
