//! Optional values, lists and maps with free names.

use std::collections::{BTreeMap, HashSet};

use crate::spec::{Item, Key, Kind, Reader, Value};
use crate::yaml::emit::Shown;
use crate::yaml::{MERGE, Node, Scalar, Tree};

impl<T: Value> Value for Option<T> {
    fn kind() -> Kind {
        Kind::Optional(Box::new(T::kind()))
    }

    fn read(reader: &mut Reader<'_>, node: &Node, key: &Key, base: Option<&Self>) -> Option<Self> {
        let word = reader.quietly(|reader| reader.scalar(node));
        if word.is_some_and(|word| word.scalar == Scalar::Null) {
            return Some(None);
        }
        T::read(reader, node, key, base.and_then(Option::as_ref)).map(Some)
    }

    fn show(&self, key: &Key) -> Shown {
        self.as_ref().map_or(Shown::Null, |value| value.show(key))
    }
}

impl<T: Item> Value for Vec<T> {
    fn kind() -> Kind {
        Kind::List(Box::new(T::kind()))
    }

    fn read(reader: &mut Reader<'_>, node: &Node, key: &Key, _base: Option<&Self>) -> Option<Self> {
        let Tree::List(nodes) = &node.tree else {
            reader.mismatch(node, key, "list");
            return None;
        };
        let mut items = Self::with_capacity(nodes.len());
        for (index, node) in nodes.iter().enumerate() {
            T::announce(reader, node);
            items.extend(reader.item(index, |reader| T::read(reader, node, key, None)));
        }
        Some(items)
    }

    fn show(&self, key: &Key) -> Shown {
        Shown::List(self.iter().map(|item| item.show(key)).collect())
    }
}

impl<T: Item> Value for BTreeMap<String, T> {
    fn kind() -> Kind {
        Kind::Map(Box::new(T::kind()))
    }

    fn read(reader: &mut Reader<'_>, node: &Node, key: &Key, _base: Option<&Self>) -> Option<Self> {
        let mut map = Self::new();
        each_named(reader, node, key, |reader, name, node| {
            if let Some(value) = T::read(reader, node, key, None) {
                map.insert(name.to_owned(), value);
            }
        })?;
        Some(map)
    }

    fn show(&self, key: &Key) -> Shown {
        Shown::Map(self.iter().map(|(name, value)| (name.clone(), value.show(key))).collect())
    }
}

/// Visits the entries of a mapping with free names. A repeated name is reported and passed over.
pub(crate) fn each_named(
    reader: &mut Reader<'_>,
    node: &Node,
    key: &Key,
    mut visit: impl FnMut(&mut Reader<'_>, &str, &Node),
) -> Option<()> {
    let Tree::Map(entries) = &node.tree else {
        reader.mismatch(node, key, "mapping");
        return None;
    };
    let mut names = HashSet::with_capacity(entries.len());
    for entry in entries {
        reader.below(&entry.name, |reader| {
            // A merge key that is left was one too many.
            if entry.name != MERGE && names.insert(entry.name.as_str()) {
                visit(reader, &entry.name, &entry.node);
            } else {
                reader.duplicate(entry.place, &entry.name);
            }
        });
    }
    Some(())
}
