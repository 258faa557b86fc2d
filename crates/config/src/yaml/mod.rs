//! Parses YAML to a tree in which every node has its position, and writes YAML. Must not know any configuration key.

pub(crate) mod build;
pub(crate) mod emit;
pub(crate) mod json;
pub(crate) mod scalar;

use std::sync::Arc;

pub(crate) use build::parse;
pub(crate) use scalar::Scalar;

/// The merge key, which inserts the entries of other mappings. A second one in a mapping stays in the tree as an entry.
pub(crate) const MERGE: &str = "<<";

/// A position in the file. Lines and columns count from 1, in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Span {
    pub(crate) line: u32,
    pub(crate) column: u32,
    /// Number of characters, at least 1.
    pub(crate) length: u32,
}

impl Span {
    pub(crate) const TOP: Self = Self { line: 1, column: 1, length: 1 };
}

#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) span: Span,
    pub(crate) tree: Tree,
}

/// Content of a node. Aliased nodes are shared, never copied.
#[derive(Debug)]
pub(crate) enum Tree {
    /// Text before interpolation. The type of plain (unquoted) text is determined after it.
    Scalar {
        text: String,
        plain: bool,
    },
    List(Vec<Arc<Node>>),
    Map(Vec<Entry>),
}

#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) name: String,
    pub(crate) span: Span,
    pub(crate) node: Arc<Node>,
}

impl Node {
    /// Returns the entries of a mapping, or none for another node.
    pub(crate) fn entries(&self) -> &[Entry] {
        match &self.tree {
            Tree::Map(entries) => entries,
            Tree::Scalar { .. } | Tree::List(_) => &[],
        }
    }

    pub(crate) fn entry(&self, name: &str) -> Option<&Entry> {
        self.entries().iter().find(|entry| entry.name == name)
    }

    /// Returns the node at `path` (`a.b[0].c`). Names may contain dots; the longest matching name is used.
    pub(crate) fn find(&self, path: &str) -> Option<&Node> {
        match self.descend(path) {
            (node, "") => Some(node),
            _ => None,
        }
    }

    /// Returns the deepest existing node on `path` and the rest of the path.
    pub(crate) fn descend<'n, 'p>(&'n self, path: &'p str) -> (&'n Node, &'p str) {
        let step = match &self.tree {
            Tree::Map(entries) => entries
                .iter()
                .filter_map(|entry| Some((path.strip_prefix(entry.name.as_str())?, entry)))
                .filter(|(rest, _)| rest.is_empty() || rest.starts_with(['.', '[']))
                .max_by_key(|(_, entry)| entry.name.len())
                .map(|(rest, entry)| (rest, &entry.node)),
            Tree::List(items) => path
                .strip_prefix('[')
                .and_then(|rest| rest.split_once(']'))
                .and_then(|(index, rest)| Some((rest, items.get(index.parse::<usize>().ok()?)?))),
            Tree::Scalar { .. } => None,
        };
        match step {
            Some((rest, node)) => node.descend(rest.strip_prefix('.').unwrap_or(rest)),
            None => (self, path),
        }
    }
}
