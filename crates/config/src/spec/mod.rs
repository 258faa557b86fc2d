//! Declarative description of the configuration keys.
//!
//! A key is declared once, as a field of a `block!`: name, type, default, rules and doc comment. Loading, `defaults`,
//! `diff`, the JSON Schema and the reference page are derived from that declaration.

pub(crate) mod block;
pub(crate) mod key;
pub(crate) mod keywords;
pub(crate) mod mapping;
pub(crate) mod reader;
pub(crate) mod text;
#[cfg(test)]
pub(crate) mod walk;

pub(crate) use key::{Key, Kind, Rule};
pub(crate) use mapping::Mapping;
pub(crate) use reader::Reader;
pub(crate) use text::{Text, text};

use crate::yaml::Node;
use crate::yaml::emit::Value;

/// The type of a key.
pub(crate) trait ConfigValue: Sized + Clone {
    /// Returns the description of the type.
    fn kind() -> Kind;

    /// Reads the node, or reports why it is invalid. A block takes keys that are not written from `base`, if given.
    fn read(reader: &mut Reader<'_>, node: &Node, key: &Key, base: Option<&Self>) -> Option<Self>;

    /// Returns the value as data, in the unit of `key`.
    fn to_value(&self, key: &Key) -> Value;
}

/// A mapping with fixed keys; implemented by `block!`.
pub(crate) trait Block: ConfigValue + Default {
    /// The keys in the order of the reference.
    const KEYS: &'static [Key];
    /// The doc comment of the block.
    const ABOUT: &'static str;
}

/// The type of list items and of values in mappings with free names.
pub(crate) trait ListItem: ConfigValue {
    /// Sets the names that messages about the item use. Called before the item is read.
    fn set_context(_reader: &mut Reader<'_>, _node: &Node) {}
}

#[cfg(test)]
mod tests;
