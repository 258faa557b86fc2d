//! Strings that never appear in a message, a log or `defaults`.

use std::fmt;

use crate::spec::{Key, Kind, Reader, Value};
use crate::yaml::Node;
use crate::yaml::emit::Shown;

/// A secret text. `Debug` does not show it.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// The text itself, for the one place that compares it.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<redacted>")
    }
}

impl Value for Secret {
    fn kind() -> Kind {
        Kind::Text("string")
    }

    fn read(reader: &mut Reader<'_>, node: &Node, key: &Key, _base: Option<&Self>) -> Option<Self> {
        reader.secrets.push(node.place);
        reader.string(node, key).map(Self)
    }

    fn show(&self, _key: &Key) -> Shown {
        Shown::Secret(self.0.clone())
    }
}
