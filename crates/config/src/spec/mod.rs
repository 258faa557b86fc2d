//! The description of the language: what a key is, and how a described block is read, shown and documented.
//!
//! A key is declared once, as a field of a `block!`: name, type, default, rules and doc comment. Loading, `defaults`,
//! `diff`, the JSON Schema and the reference page all follow from that declaration.

pub(crate) mod block;
pub(crate) mod key;
pub(crate) mod reader;
pub(crate) mod scope;
pub(crate) mod text;
#[cfg(test)]
pub(crate) mod walk;
pub(crate) mod words;

pub(crate) use key::{Key, Kind, Rule};
pub(crate) use reader::Reader;
pub(crate) use scope::Scope;
pub(crate) use text::{Text, text};

use crate::yaml::Node;
use crate::yaml::emit::Shown;

/// A type that a key can have.
pub(crate) trait Value: Sized + Clone {
    /// Its description.
    fn kind() -> Kind;

    /// Reads the node, or reports why not. A block starts from `base` where there is one and changes what is written.
    fn read(reader: &mut Reader<'_>, node: &Node, key: &Key, base: Option<&Self>) -> Option<Self>;

    /// The value as data; `key` says in which unit.
    fn show(&self, key: &Key) -> Shown;
}

/// A mapping with known keys; implemented by `block!`.
pub(crate) trait Block: Value + Default {
    /// The keys, in the order of the reference.
    const KEYS: &'static [Key];
    /// The doc comment of the block.
    const ABOUT: &'static str;
}

/// Values that stand in lists. Named upstreams do not: they are a mapping.
pub(crate) trait Item: Value {
    /// Tells the reader what the item is called, before it is read.
    fn announce(_reader: &mut Reader<'_>, _node: &Node) {}
}

#[cfg(test)]
mod tests;
