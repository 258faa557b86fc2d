//! Optional values, lists and maps with free names.

use std::collections::{BTreeMap, HashSet};

use crate::spec::{ConfigValue, Key, Kind, ListItem, Reader};
use crate::yaml::emit::Value;
use crate::yaml::{MERGE, Node, Scalar, Tree};

impl<T: ConfigValue> ConfigValue for Option<T> {
    fn kind() -> Kind {
        Kind::Optional(Box::new(T::kind()))
    }

    fn read(reader: &mut Reader<'_>, node: &Node, key: &Key, base: Option<&Self>) -> Option<Self> {
        let word = reader.silently(|reader| reader.scalar(node));
        if word.is_some_and(|word| word.scalar == Scalar::Null) {
            return Some(None);
        }
        T::read(reader, node, key, base.and_then(Option::as_ref)).map(Some)
    }

    fn to_value(&self, key: &Key) -> Value {
        self.as_ref().map_or(Value::Null, |value| value.to_value(key))
    }
}

impl<T: ListItem> ConfigValue for Vec<T> {
    fn kind() -> Kind {
        Kind::List(Box::new(T::kind()))
    }

    fn read(reader: &mut Reader<'_>, node: &Node, key: &Key, _base: Option<&Self>) -> Option<Self> {
        let Tree::List(nodes) = &node.tree else {
            reader.report_type(node, key, "list");
            return None;
        };
        let mut items = Self::with_capacity(nodes.len());
        for (index, node) in nodes.iter().enumerate() {
            T::set_context(reader, node);
            items.extend(reader.at_index(index, |reader| T::read(reader, node, key, None)));
        }
        Some(items)
    }

    fn to_value(&self, key: &Key) -> Value {
        Value::List(self.iter().map(|item| item.to_value(key)).collect())
    }
}

impl<T: ListItem> ConfigValue for BTreeMap<String, T> {
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

    fn to_value(&self, key: &Key) -> Value {
        Value::Map(self.iter().map(|(name, value)| (name.clone(), value.to_value(key))).collect())
    }
}

/// Visits the entries of a mapping with free names. Reports and skips repeated names.
pub(crate) fn each_named(
    reader: &mut Reader<'_>,
    node: &Node,
    key: &Key,
    mut visit: impl FnMut(&mut Reader<'_>, &str, &Node),
) -> Option<()> {
    let Tree::Map(entries) = &node.tree else {
        reader.report_type(node, key, "mapping");
        return None;
    };
    let mut names = HashSet::with_capacity(entries.len());
    for entry in entries {
        reader.at_key(&entry.name, |reader| {
            // The tree contains a merge key only if the mapping has a second one.
            if entry.name != MERGE && names.insert(entry.name.as_str()) {
                visit(reader, &entry.name, &entry.node);
            } else {
                reader.duplicate(entry.span, &entry.name);
            }
        });
    }
    Some(())
}
