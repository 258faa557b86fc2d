//! Secret strings, which never appear in a message, a log or `defaults`.

use std::fmt;

use crate::spec::{ConfigValue, Key, Kind, Reader};
use crate::yaml::Node;
use crate::yaml::emit::Value;

/// A secret string. `Debug` redacts it.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Returns the secret, to compare it. It must not be shown.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<redacted>")
    }
}

impl ConfigValue for Secret {
    fn kind() -> Kind {
        Kind::Text("string")
    }

    fn read(reader: &mut Reader<'_>, node: &Node, key: &Key, _base: Option<&Self>) -> Option<Self> {
        reader.secrets.push(node.span);
        reader.string(node, key).map(Self)
    }

    fn to_value(&self, _key: &Key) -> Value {
        Value::Secret(self.0.clone())
    }
}
