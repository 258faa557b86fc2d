//! Reads a mapping: finds keys, reports unknown, missing and repeated ones, and runs checks between keys.

use super::text::{Text, text};
use super::{ConfigValue, Key, Reader};
use crate::yaml::{MERGE, Node, Span, Tree};

const UNKNOWN: Text = text("unknown field '<name>'").hint("<advice>");
const MISSING: Text = text("missing field '<name>'");
const DUPLICATE: Text = text("duplicate field '<name>'");

/// Messages that can be about any mapping.
pub(crate) const TEXTS: [Text; 3] = [UNKNOWN, MISSING, DUPLICATE];

/// Minimum similarity of a suggested key.
const LIKENESS: f64 = 0.8;
/// Maximum length in bytes of a name that is compared with the keys, which bounds the cost of a suggestion.
const MAX_COMPARED: usize = 64;

pub(crate) struct Mapping<'s, 'e> {
    pub(crate) reader: &'s mut Reader<'e>,
    pub(crate) node: &'s Node,
}

impl<'s, 'e> Mapping<'s, 'e> {
    /// Starts reading a mapping and reports unknown and repeated keys. Reports and returns `None` for other nodes.
    pub(crate) fn enter(reader: &'s mut Reader<'e>, node: &'s Node, key: &Key, keys: &[Key]) -> Option<Self> {
        let Tree::Map(entries) = &node.tree else {
            reader.report_type(node, key, "mapping");
            return None;
        };
        let mut seen = vec![false; keys.len()];
        for entry in entries {
            let name = entry.name.as_str();
            let known = keys.iter().zip(&mut seen).find(|(known, _)| known.is_named(name));
            let Some((_, seen)) = known else {
                if name == MERGE {
                    reader.at_key(name, |reader| reader.duplicate(entry.span, name));
                    continue;
                }
                if !reader.count_if_full(UNKNOWN) {
                    let advice = advice(name, keys);
                    reader.at_key(name, |reader| {
                        reader.report(entry.span, UNKNOWN, "", &[("name", name), ("advice", &advice)]);
                    });
                }
                continue;
            };
            if std::mem::replace(seen, true) {
                reader.at_key(name, |reader| reader.duplicate(entry.span, name));
            }
        }
        Some(Self { reader, node })
    }

    /// Reads a key. Returns `absent` if it is missing or invalid; a block inherits from `absent`.
    pub(crate) fn field<T: ConfigValue>(&mut self, key: &Key, absent: T) -> T {
        let Some(entry) = self.node.entries().iter().find(|entry| key.is_named(&entry.name)) else {
            if key.required {
                self.missing(key.name);
            }
            return absent;
        };
        self.reader.at_key(key.name, |reader| T::read(reader, &entry.node, key, Some(&absent))).unwrap_or(absent)
    }

    pub(crate) fn missing(&mut self, name: &str) {
        let span = self.node.span;
        self.reader.at_key(name, |reader| reader.report(span, MISSING, "", &[("name", name)]));
    }

    pub(crate) fn written(&self, path: &str) -> bool {
        self.node.find(path).is_some()
    }

    /// Reports `text` at the first of `keys` if `holds` is false and none of the keys has an error. The keys are paths relative
    /// to this mapping.
    pub(crate) fn require(&mut self, holds: bool, keys: &[&str], text: Text, arguments: &[(&str, &str)]) {
        if holds || self.reader.count_if_full(text) {
            return;
        }
        if let Some(key) = keys.first() {
            self.require_at(self.span(key), keys, text, arguments);
        }
    }

    /// Reports `text` for the first of `keys` at `span`, unless one of the keys has an error.
    pub(crate) fn require_at(&mut self, span: Span, keys: &[&str], text: Text, arguments: &[(&str, &str)]) {
        let known = keys.iter().any(|key| self.reader.has_failed(&join(&self.reader.path, key)));
        if let (false, Some(key)) = (known, keys.first()) {
            self.reader.at_key(key, |reader| reader.report(span, text, "", arguments));
        }
    }

    /// Reports `text` at the mapping itself, unless it contains an error.
    pub(crate) fn require_here(&mut self, text: Text) {
        if !self.reader.any_failed(&self.reader.path) {
            self.reader.report(self.node.span, text, "", &[]);
        }
    }

    /// Whether there was an error at `key` or below it.
    pub(crate) fn any_failed(&self, key: &str) -> bool {
        self.reader.any_failed(&join(&self.reader.path, key))
    }

    /// Returns the position of the node at `path`, or of the innermost node on the path that exists.
    pub(crate) fn span(&self, path: &str) -> Span {
        self.node.descend(path).0.span
    }
}

fn join(block: &str, key: &str) -> String {
    if block.is_empty() { key.to_owned() } else { format!("{block}.{key}") }
}

impl Reader<'_> {
    /// Reports a repeated name at the current path.
    pub(crate) fn duplicate(&mut self, span: Span, name: &str) {
        self.report(span, DUPLICATE, "", &[("name", name)]);
    }
}

impl Key {
    pub(crate) fn is_named(&self, name: &str) -> bool {
        self.name == name || (!self.alias.is_empty() && self.alias == name)
    }
}

/// Suggests a similar key, else lists all keys.
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
